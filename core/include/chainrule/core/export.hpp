// SPDX-License-Identifier: Apache-2.0
#pragma once

/// Marks what the shared libraries export; everything else is compiled with hidden visibility.
#define CHAINRULE_API __attribute__((visibility("default")))
