# SPDX-License-Identifier: Apache-2.0
#
# cmake -D SOURCE_DIR=... -P format.cmake
#
# Every source is as clang-format 14 leaves it; other versions differ in details.
cmake_minimum_required(VERSION 3.25)
find_program(CLANG_FORMAT NAMES clang-format-14 clang-format)
set(version "")
if(CLANG_FORMAT)
  execute_process(COMMAND ${CLANG_FORMAT} --version OUTPUT_VARIABLE version)
endif()
if(NOT version MATCHES "version 14\\.")
  message("SKIPPED: no clang-format 14 (Debian 12: clang-format)")
  return()
endif()

set(patterns "")
foreach(directory IN ITEMS core ops runtime learn check tools tests benchmarks examples)
  list(APPEND patterns ${SOURCE_DIR}/${directory}/*.hpp ${SOURCE_DIR}/${directory}/*.cpp)
endforeach()
file(GLOB_RECURSE files ${patterns})
execute_process(COMMAND ${CLANG_FORMAT} --dry-run --Werror ${files} RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "clang-format -i formats them")
endif()
