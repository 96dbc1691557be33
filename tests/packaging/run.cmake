# SPDX-License-Identifier: Apache-2.0

# Runs a command, which must succeed, and keeps what it printed for expect_output().
function(run)
  execute_process(
    COMMAND ${ARGN}
    RESULT_VARIABLE result
    OUTPUT_VARIABLE output
    ERROR_VARIABLE error)
  if(NOT result EQUAL 0)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "${command}\nfailed (${result}):\n${output}\n${error}")
  endif()
  set(run_output "${output}" PARENT_SCOPE)
endfunction()

function(expect_output pattern)
  if(NOT run_output MATCHES "${pattern}")
    message(FATAL_ERROR "expected '${pattern}' in:\n${run_output}")
  endif()
endfunction()

# A consumer's flags: where the headers are, the standard, and nothing that we compile with.
function(expect_clean_flags command)
  separate_arguments(arguments UNIX_COMMAND "${command}")
  foreach(argument IN LISTS arguments)
    if(argument MATCHES "^-" AND NOT argument MATCHES
                                 "^(-I.*|-isystem|-L.*|-l.*|-pthread|-o|-c|-std=(c|gnu)..20)$")
      message(FATAL_ERROR "the consumer is compiled with ${argument}:\n${command}")
    endif()
  endforeach()
endfunction()
