# SPDX-License-Identifier: Apache-2.0
#
# cmake -D OBJCOPY=... -D BINARY=... -D DIRECTORY=... -D WORK=dir -P binary_paths.cmake
#
# A binary does not hold the directory that it was built in, debug information aside.
cmake_minimum_required(VERSION 3.25)
include(${CMAKE_CURRENT_LIST_DIR}/run.cmake)
file(MAKE_DIRECTORY ${WORK})
run(${OBJCOPY} --strip-debug ${BINARY} ${WORK}/stripped)
string(REGEX REPLACE "([][+.*()^$?|{}\\\\])" "\\\\\\1" pattern "${DIRECTORY}/")
file(STRINGS ${WORK}/stripped lines REGEX "${pattern}" LIMIT_COUNT 5)
if(lines)
  message(FATAL_ERROR "${BINARY} holds paths of the build:\n${lines}")
endif()
file(STRINGS ${WORK}/stripped lines REGEX "Apache|chainrule" LIMIT_COUNT 1)
if(NOT lines)
  message(FATAL_ERROR "${BINARY} holds no text at all")
endif()
