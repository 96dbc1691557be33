# SPDX-License-Identifier: Apache-2.0

# Flags of our own translation units. Components take them as PRIVATE options and executables link
# the target, so that no consumer inherits them.
add_library(chainrule_flags INTERFACE)
# A fused multiply-add has other bits than mul and add: where one is wanted, the code says so.
target_compile_options(chainrule_flags INTERFACE -ffp-contract=off)
# Binaries do not hold the directories of the machine that built them. (Debug information does, or
# debuggers would not find the sources.)
target_compile_options(chainrule_flags INTERFACE "-fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=")
if(CHAINRULE_STRICT)
  target_compile_options(chainrule_flags INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Werror)
endif()
if(CHAINRULE_SANITIZE)
  target_compile_options(
    chainrule_flags INTERFACE -fsanitize=${CHAINRULE_SANITIZE} -fno-sanitize-recover=all
                              -fno-omit-frame-pointer)
  target_link_options(chainrule_flags INTERFACE -fsanitize=${CHAINRULE_SANITIZE})
endif()
