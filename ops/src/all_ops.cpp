// SPDX-License-Identifier: Apache-2.0
#include "chainrule/ops/all_ops.hpp"

#include <array>

#include "chainrule/ops/ops.hpp"

namespace chainrule {
namespace {

constexpr auto kAllOps = std::to_array<const OpDef*>({
    &kMatmulOp,
    &kAddBiasOp,
    &kAddOp,
    &kSubOp,
    &kMulOp,
    &kScaleOp,
    &kIdentityOp,
    &kReluOp,
    &kLeakyReluOp,
    &kEluOp,
    &kSigmoidOp,
    &kTanhOp,
    &kSoftplusOp,
    &kSiluOp,
    &kGeluOp,
    &kGeluTanhOp,
    &kExpOp,
    &kLogOp,
    &kSoftmaxOp,
    &kLogSoftmaxOp,
    &kDropoutOp,
    &kLayerNormOp,
    &kBatchNormOp,
    &kConcatOp,
    &kSliceOp,
    &kEmbeddingOp,
    &kBatchSumOp,
    &kBatchMeanOp,
    &kFeatureSumOp,
    &kFeatureMeanOp,
    &kTotalSumOp,
    &kTotalMeanOp,
    &kMeanSquaredErrorOp,
    &kMeanAbsoluteErrorOp,
    &kHuberOp,
    &kBinaryCrossEntropyOp,
    &kHingeOp,
    &kPoissonOp,
    &kGammaOp,
    &kNegativeBinomialOp,
    &kSoftmaxCrossEntropyOp,
    &kSoftmaxCrossEntropyProbabilitiesOp,
    &kRbfGpNllOp,
});

}  // namespace

std::span<const OpDef* const> all_ops() noexcept { return kAllOps; }

}  // namespace chainrule
