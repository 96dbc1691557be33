# SPDX-License-Identifier: Apache-2.0
#
# cmake -D NM=nm -D LIBDIR=dir -P exported_symbols.cmake
#
# The shared libraries export names of chainrule:: and nothing else: no std:: instantiation that
# could replace the program's own, no kernel body, no symbol of a private dependency.
cmake_minimum_required(VERSION 3.25)
include(${CMAKE_CURRENT_LIST_DIR}/run.cmake)
set(kinds "(vtable for |VTT for |typeinfo for |typeinfo name for |(non-)?virtual thunk to )")

foreach(component IN ITEMS core kernels ops runtime learn check)
  run(${NM} -DC --defined-only ${LIBDIR}/libchainrule_${component}.so)
  string(REGEX REPLACE "[][;]" "_" run_output "${run_output}")  # so that a line is a list element
  string(REGEX MATCHALL "[^\n]+" symbols "${run_output}")
  list(LENGTH symbols count)
  if(count EQUAL 0)
    message(SEND_ERROR "libchainrule_${component}.so exports nothing")
  endif()
  foreach(symbol IN LISTS symbols)
    string(REGEX REPLACE "^[0-9a-f]+ [A-Za-z] " "" name "${symbol}")
    if(NOT name MATCHES "^${kinds}?([a-z ]+ )?chainrule::" OR name MATCHES "chainrule::simd::")
      message(SEND_ERROR "libchainrule_${component}.so exports ${name}")
    endif()
  endforeach()
endforeach()
