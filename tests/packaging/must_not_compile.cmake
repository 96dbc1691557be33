# SPDX-License-Identifier: Apache-2.0
#
# cmake -D COMPILER=... -D INCLUDE_DIRS=a|b -D SOURCE=x.cpp [-D FAULT=MACRO -D MESSAGE=regex] -P ...
#
# With a FAULT the source must fail to compile, saying MESSAGE; without one it must compile.
cmake_minimum_required(VERSION 3.25)
string(REPLACE "|" ";" include_dirs "${INCLUDE_DIRS}")
list(TRANSFORM include_dirs PREPEND "-I")
if(FAULT)
  list(APPEND include_dirs -D${FAULT})
endif()
execute_process(
  COMMAND ${COMPILER} -std=c++20 -fsyntax-only ${include_dirs} ${SOURCE}
  RESULT_VARIABLE result
  OUTPUT_VARIABLE output
  ERROR_VARIABLE output)
if(FAULT AND result EQUAL 0)
  message(FATAL_ERROR "${SOURCE} compiled with ${FAULT}")
elseif(FAULT AND NOT output MATCHES "${MESSAGE}")
  message(FATAL_ERROR "${SOURCE} with ${FAULT} does not say '${MESSAGE}':\n${output}")
elseif(NOT FAULT AND NOT result EQUAL 0)
  message(FATAL_ERROR "${SOURCE} must compile without a fault:\n${output}")
endif()
