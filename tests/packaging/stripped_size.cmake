# SPDX-License-Identifier: Apache-2.0
#
# cmake -D STRIP=... -D BINARY=... -D LIMIT=bytes -D WORK=dir -P stripped_size.cmake
#
# A program that links the static libraries is small once it is stripped.
cmake_minimum_required(VERSION 3.25)
include(${CMAKE_CURRENT_LIST_DIR}/run.cmake)
file(MAKE_DIRECTORY ${WORK})
run(${STRIP} -o ${WORK}/stripped ${BINARY})
file(SIZE ${WORK}/stripped size)
message(STATUS "${BINARY}: ${size} bytes, allowed are ${LIMIT}")
if(size GREATER LIMIT OR size LESS 100000)
  message(FATAL_ERROR "the size is not what was expected")
endif()
