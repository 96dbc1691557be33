# SPDX-License-Identifier: Apache-2.0
#
# cmake -D COMPILER=... -D INCLUDE_DIRS=a|b -D ROOT=dir -D WORK=dir -P headers.cmake
#
# Every header under ROOT compiles alone, also for a user with many warnings.
cmake_minimum_required(VERSION 3.25)
string(REPLACE "|" ";" include_dirs "${INCLUDE_DIRS}")
list(TRANSFORM include_dirs PREPEND "-I")
file(GLOB_RECURSE headers RELATIVE ${ROOT} ${ROOT}/*.hpp)
if(NOT headers)
  message(FATAL_ERROR "no headers under ${ROOT}")
endif()
set(failures "")
foreach(header IN LISTS headers)
  string(MAKE_C_IDENTIFIER ${header} name)
  file(WRITE ${WORK}/${name}.cpp "#include \"${header}\"\n#include \"${header}\"\n")
  execute_process(
    COMMAND ${COMPILER} -std=c++20 -fsyntax-only -Wall -Wextra -Wpedantic -Wconversion -Werror
            ${include_dirs} ${WORK}/${name}.cpp
    RESULT_VARIABLE result
    ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    string(APPEND failures "${header}:\n${output}\n")
  endif()
endforeach()
if(failures)
  message(FATAL_ERROR "${failures}")
endif()
