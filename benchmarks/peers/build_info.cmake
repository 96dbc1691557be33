# SPDX-License-Identifier: Apache-2.0
#
# cmake -D SOURCE_DIR=... -D OUTPUT=... -D COMPILER=... -D FLAGS=... -P build_info.cmake
#
# Writes a header that says what is being built, and leaves it alone when it says so already.
cmake_minimum_required(VERSION 3.25)
execute_process(
  COMMAND git -C ${SOURCE_DIR} describe --always --dirty
  OUTPUT_VARIABLE commit
  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
file(
  CONFIGURE
  OUTPUT ${OUTPUT}
  CONTENT
    "#pragma once

inline constexpr const char* kCommit = \"@commit@\";
inline constexpr const char* kCompiler = \"@COMPILER@\";
inline constexpr const char* kFlags = \"@FLAGS@\";
"
  @ONLY)
