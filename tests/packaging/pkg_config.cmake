# SPDX-License-Identifier: Apache-2.0
#
# cmake -D COMPILER=... -D CONSUMER=dir -D VERSION=x.y.z -D WORK=dir -D PREFIX=install
#       -D LIBDIR=lib -D KIND=static|shared -P pkg_config.cmake
#
# Builds and runs the consumer with one compiler command and pkg-config.
cmake_minimum_required(VERSION 3.25)
include(${CMAKE_CURRENT_LIST_DIR}/run.cmake)
find_program(PKG_CONFIG NAMES pkg-config pkgconf REQUIRED)
set(ENV{PKG_CONFIG_PATH} ${PREFIX}/${LIBDIR}/pkgconfig)
set(static "")
if(KIND STREQUAL "static")
  set(static --static)
endif()

run(${PKG_CONFIG} --modversion chainrule)
expect_output("^${VERSION}\n$")
run(${PKG_CONFIG} --cflags --libs ${static} chainrule)
expect_clean_flags("${run_output}")
if(KIND STREQUAL "shared" AND run_output MATCHES "-l(tbb|z|openblas)")
  message(FATAL_ERROR "shared libraries bring what they need themselves: ${run_output}")
endif()

separate_arguments(flags UNIX_COMMAND "${run_output}")
file(MAKE_DIRECTORY ${WORK})
run(${COMPILER} -std=c++20 ${CONSUMER}/main.cpp -o ${WORK}/consumer ${flags})
set(ENV{LD_LIBRARY_PATH} ${PREFIX}/${LIBDIR})
run(${WORK}/consumer)
expect_output("loss 2.5 gradient 2 3\ncaught ")
