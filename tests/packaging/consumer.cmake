# SPDX-License-Identifier: Apache-2.0
#
# cmake -D COMPILER=... -D CONSUMER=dir -D VERSION=x.y.z -D WORK=dir
#       (-D PREFIX=install | -D SUBDIRECTORY=ON -D SOURCE_DIR=chainrule -D LAUNCHER=... -D SHARED=ON|OFF
#        [-D PREFIX=install])
#       -P consumer.cmake
#
# Builds and runs the consumer project; its compile lines must hold nothing but include directories.
# A shared subdirectory build is installed to PREFIX; of a static one only what core needs is built.
cmake_minimum_required(VERSION 3.25)
include(${CMAKE_CURRENT_LIST_DIR}/run.cmake)

set(options -G Ninja -D CMAKE_CXX_COMPILER=${COMPILER} -D CMAKE_BUILD_TYPE=)
set(targets all)
if(SUBDIRECTORY)
  list(
    APPEND
    options
    -D
    CONSUMER_SUBDIRECTORY=${SOURCE_DIR}
    -D
    BUILD_SHARED_LIBS=${SHARED}
    -D
    CMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER}
    -D
    CMAKE_UNITY_BUILD=ON
    -D
    CHAINRULE_INSTALL=${SHARED})
  if(NOT SHARED)
    set(targets core_only)  # generating the rest has shown that its link lines resolve
  endif()
else()
  file(REMOVE_RECURSE ${WORK})
  list(APPEND options -D CMAKE_PREFIX_PATH=${PREFIX})
endif()
run(${CMAKE_COMMAND} -S ${CONSUMER} -B ${WORK} ${options})
run(${CMAKE_COMMAND} --build ${WORK} --target ${targets})

run(${WORK}/core_only)
expect_output("${VERSION} x \\[batch, 64\\]")
if(targets STREQUAL "all")
  run(${WORK}/consumer)
  expect_output("loss 2.5 gradient 2 3\ncaught ")
endif()
if(SUBDIRECTORY AND SHARED)
  run(${CMAKE_COMMAND} --install ${WORK} --prefix ${PREFIX})
endif()

file(READ ${WORK}/compile_commands.json commands)
string(JSON count LENGTH "${commands}")
math(EXPR last "${count} - 1")
set(checked 0)
foreach(i RANGE ${last})
  string(JSON file GET "${commands}" ${i} file)
  string(JSON command GET "${commands}" ${i} command)
  if(file MATCHES "^${CONSUMER}/")
    math(EXPR checked "${checked} + 1")
    expect_clean_flags("${command}")
  endif()
endforeach()
if(NOT checked EQUAL 2)
  message(FATAL_ERROR "${checked} compile lines of the consumer were checked instead of 2")
endif()
