# SPDX-License-Identifier: Apache-2.0
#
# cmake -D COMPILER=... -D CONSUMER=dir -D VERSION=x.y.z -D WORK=dir -D PREFIX=install
#       -D LIBDIR=lib -D KIND=static|shared -D README=README.md -P pkg_config.cmake
#
# Builds and runs the consumer with the README's own compiler command, and with --static.
cmake_minimum_required(VERSION 3.25)
include(${CMAKE_CURRENT_LIST_DIR}/run.cmake)
find_program(PKG_CONFIG NAMES pkg-config pkgconf REQUIRED)
set(ENV{PKG_CONFIG_PATH} ${PREFIX}/${LIBDIR}/pkgconfig)
run(${PKG_CONFIG} --modversion chainrule)
expect_output("^${VERSION}\n$")
run(${PKG_CONFIG} --cflags --libs chainrule)
expect_clean_flags("${run_output}")
if(KIND STREQUAL "shared" AND run_output MATCHES "-l(tbb|z|openblas)")
  message(FATAL_ERROR "shared libraries bring what they need themselves: ${run_output}")
endif()

file(READ ${README} readme)
if(NOT readme MATCHES "`c\\+\\+ ([^`\n]*pkg-config[^`\n]*)`")
  message(FATAL_ERROR "${README} has no command with pkg-config")
endif()
set(arguments "${CMAKE_MATCH_1}")
file(MAKE_DIRECTORY ${WORK})
file(COPY_FILE ${CONSUMER}/main.cpp ${WORK}/app.cpp)
set(ENV{LD_LIBRARY_PATH} ${PREFIX}/${LIBDIR})
string(REPLACE "pkg-config" "${PKG_CONFIG} --static" fully_static "${arguments}")
foreach(command IN ITEMS "${arguments}" "${fully_static}")
  file(REMOVE ${WORK}/app)
  run(sh -ec "cd '${WORK}' && ${COMPILER} ${command}")
  run(${WORK}/app)
  expect_output("loss 2.5 gradient 2 3\ncaught ")
endforeach()
