// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "chainrule/ops/activations.hpp"
#include "chainrule/ops/add_bias.hpp"
#include "chainrule/ops/all_ops.hpp"
#include "chainrule/ops/arithmetic.hpp"
#include "chainrule/ops/batch_norm.hpp"
#include "chainrule/ops/columns.hpp"
#include "chainrule/ops/dropout.hpp"
#include "chainrule/ops/embedding.hpp"
#include "chainrule/ops/gp_nll.hpp"
#include "chainrule/ops/layer_norm.hpp"
#include "chainrule/ops/losses.hpp"
#include "chainrule/ops/matmul.hpp"
#include "chainrule/ops/reductions.hpp"
#include "chainrule/ops/softmax.hpp"
