# SPDX-License-Identifier: Apache-2.0
execute_process(COMMAND ${GENERATOR} OUTPUT_VARIABLE printed COMMAND_ERROR_IS_FATAL ANY)
file(READ ${HEADER} header)
if(NOT printed STREQUAL header)
  message(FATAL_ERROR "${HEADER} is not what ${GENERATOR} prints: print it again")
endif()
