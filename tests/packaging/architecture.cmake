# SPDX-License-Identifier: Apache-2.0
#
# cmake -D SOURCE_DIR=... -P architecture.cmake
#
# The rules of the design that a compiler does not check: who may include whom, what library code
# must not do, what every file must look like.
cmake_minimum_required(VERSION 3.25)
set(floors core ops/kernels ops runtime learn check)
set(may_include_core core)
set(may_include_ops/kernels core|kernels)
set(may_include_ops core|kernels|ops)
set(may_include_runtime core|kernels|runtime)
set(may_include_learn core|kernels|ops|runtime|learn)
set(may_include_check core|kernels|ops|runtime|learn|check)

# Reports the lines of `file` that match `pattern` and not `unless`.
function(forbid file pattern unless reason)
  file(STRINGS ${SOURCE_DIR}/${file} lines REGEX "${pattern}")
  string(REPLACE "[" "(" lines "${lines}")  # an unbalanced bracket would join two lines
  string(REPLACE "]" ")" lines "${lines}")
  foreach(line IN LISTS lines)
    if(NOT unless OR NOT line MATCHES "${unless}")
      message(SEND_ERROR "${file}: ${reason}\n    ${line}")
    endif()
  endforeach()
endfunction()

function(sources_of result)
  set(patterns "")
  foreach(directory IN LISTS ARGN)
    list(APPEND patterns ${SOURCE_DIR}/${directory}/*.hpp ${SOURCE_DIR}/${directory}/*.cpp)
  endforeach()
  file(GLOB_RECURSE files RELATIVE ${SOURCE_DIR} ${patterns})
  list(REMOVE_DUPLICATES files)
  set(${result} ${files} PARENT_SCOPE)
endfunction()

set(blas_files "")
foreach(floor IN LISTS floors)
  sources_of(files ${floor}/include ${floor}/src)
  if(NOT files)
    message(SEND_ERROR "${floor}: no sources found; has the directory moved?")
  endif()
  foreach(file IN LISTS files)
    forbid(${file} "#include [\"<]chainrule/" "chainrule/(${may_include_${floor}})/"
           "${floor} may include only ${may_include_${floor}}")
    forbid(${file} "(^|[^a-z_])(printf|fprintf|puts|abort|exit|_Exit) *\\(" "^ *//"
           "library code neither prints nor ends the process")
    forbid(${file} "std::(cout|cerr|clog)" "^ *//" "library code does not print")
    forbid(${file} "using namespace " "" "name the names")
    file(STRINGS ${SOURCE_DIR}/${file} blas REGEX "#include [\"<].*(cblas|lapack|f77blas)")
    if(blas)
      list(APPEND blas_files ${file})
    endif()
  endforeach()

  sources_of(headers ${floor}/include)
  foreach(header IN LISTS headers)
    if(NOT header MATCHES "/(tbb_arena|gtest).hpp$")  # say so, and are not in the umbrella header
      forbid(${header} "#include <[^>]*[./]" "" "public headers include no third-party header")
    endif()
    forbid(${header} "#include \"" "#include \"chainrule/" "public headers include public headers")
  endforeach()
endforeach()

list(LENGTH blas_files count)
if(NOT count EQUAL 1 OR NOT blas_files MATCHES "^runtime/src/")
  message(SEND_ERROR "BLAS and LAPACK are bound in one file of runtime/src, not in: ${blas_files}")
endif()

sources_of(files ${floors} tools tests benchmarks examples)
foreach(file IN LISTS files)
  if(NOT file MATCHES "^(tests/)?runtime/")
    forbid(${file} "#include [\"<](tbb|oneapi)/" "" "TBB is included only under runtime/")
  endif()
  forbid(${file} "#include \"\\.\\./" "" "no include climbs out of its directory")
  file(STRINGS ${SOURCE_DIR}/${file} first LIMIT_COUNT 1)
  if(NOT first STREQUAL "// SPDX-License-Identifier: Apache-2.0")
    message(SEND_ERROR "${file}: the first line is not the SPDX line")
  endif()
  file(READ ${SOURCE_DIR}/${file} text)
  if(file MATCHES "hpp$" AND NOT text MATCHES "\n#pragma once\n")
    message(SEND_ERROR "${file}: no #pragma once")
  endif()
  string(REGEX REPLACE "[^\n]" "" newlines "${text}")
  string(LENGTH "${newlines}" lines)
  if(lines GREATER 500)
    message(SEND_ERROR "${file}: ${lines} lines; split it")
  endif()
endforeach()

file(GLOB_RECURSE scripts RELATIVE ${SOURCE_DIR} ${SOURCE_DIR}/*CMakeLists.txt
     ${SOURCE_DIR}/cmake/*.cmake ${SOURCE_DIR}/CMakePresets.json)
list(FILTER scripts EXCLUDE REGEX "^build")
foreach(script IN LISTS scripts)
  set(unless "")
  if(script STREQUAL "benchmarks/peers/CMakeLists.txt")
    set(unless "march=native")  # peers are compiled as they are fastest
  endif()
  forbid(${script} "ffast-math|-Ofast|-march=native|funsafe-math" "${unless}"
         "the bits must not depend on it")
endforeach()
