// SPDX-License-Identifier: Apache-2.0
#pragma once

// Printed by ops/kernels/tools/math_tables.cpp, which says how; a test compares.

// clang-format off

namespace chainrule::simd {

/// 2^(j / 16), what its rounding took, and (exp(r) - 1 - r) / r^2 on |r| <=
/// ln(2) / 32.
struct ExpTable {
  alignas(64) static constexpr float kPower[16] = {
    0x1p+0F, 0x1.0b5586p+0F, 0x1.172b84p+0F, 0x1.2387a6p+0F, 0x1.306fep+0F, 0x1.3dea64p+0F,
    0x1.4bfdaep+0F, 0x1.5ab07ep+0F, 0x1.6a09e6p+0F, 0x1.7a1148p+0F, 0x1.8ace54p+0F, 0x1.9c4918p+0F,
    0x1.ae89fap+0F, 0x1.c199bep+0F, 0x1.d5818ep+0F, 0x1.ea4afap+0F,
  };
  alignas(64) static constexpr float kRest[16] = {
    0x0p+0F, 0x1.9f3122p-25F, -0x1.c15742p-27F, 0x1.ceac48p-25F, 0x1.4636e2p-25F, 0x1.824684p-25F,
    -0x1.593abcp-25F, -0x1.5bd5ecp-27F, 0x1.9fcef4p-26F, -0x1.829fdp-25F, 0x1.15506ep-27F,
    0x1.51f848p-27F, -0x1.a94b14p-26F, -0x1.3d56b2p-27F, -0x1.822dbcp-27F, 0x1.52486cp-27F,
  };
  alignas(64) static constexpr float kTail[2] = {
    0x1.000148p-1F, 0x1.55565cp-3F,
  };
};

/// tanh(x), 0 <= x < 9.4, where it is 1.
struct TanhPieces {
  static constexpr float kOrigin = 0x1.4p-1F;
  static constexpr float kBound = 0x1.2bfffep+3F;  ///< just inside the last interval
  static constexpr int kShift = 20;
  /// [power of the distance from the interval's start][interval]
  alignas(64) static constexpr float kCoefficients[5][32] = {
    {
    0x1.c278a4p-1F, 0x1.d9c6fcp-1F, 0x1.e878ap-1F, 0x1.f1994ep-1F, 0x1.f73776p-1F, 0x1.faa794p-1F,
    0x1.fcc04cp-1F, 0x1.fe06ecp-1F, 0x1.fecd6cp-1F, 0x1.ff8f22p-1F, 0x1.ffd678p-1F, 0x1.fff0b8p-1F,
    0x1.fffa6p-1F, 0x1.fffdeep-1F, 0x1.ffff3ep-1F, 0x1.ffffb8p-1F, 0x1.ffffe6p-1F, 0x1.fffffcp-1F,
    0x0p+0F, 0x1.ff559ap-5F, 0x1.fd5992p-4F, 0x1.7b8ffap-3F, 0x1.f597eap-3F, 0x1.35f98ap-2F,
    0x1.6ef53ep-2F, 0x1.d9353ep-2F, 0x1.1bf47ep-1F, 0x1.45323ep-1F, 0x1.68665p-1F, 0x1.85efacp-1F,
    0x1.9e5cb6p-1F, 0x1.b2523cp-1F,
    },
    {
    0x1.cea804p-3F, 0x1.265d88p-3F, 0x1.6fcdbep-4F, 0x1.c657d8p-5F, 0x1.16a5ap-5F, 0x1.544ed6p-6F,
    0x1.9e83cp-7F, 0x1.f816bep-8F, 0x1.320f14p-8F, 0x1.c308cp-10F, 0x1.4c083ap-11F, 0x1.e8b044p-13F,
    0x1.679552p-14F, 0x1.0892ep-15F, 0x1.85542cp-17F, 0x1.1e7404p-18F, 0x1.a3404p-20F,
    0x1.c5ea78p-23F, 0x1p+0F, 0x1.fe014ep-1F, 0x1.f8152p-1F, 0x1.ee69dep-1F, 0x1.e1499ep-1F,
    0x1.d11572p-1F, 0x1.be3fbcp-1F, 0x1.92a968p-1F, 0x1.6284f4p-1F, 0x1.3173e4p-1F, 0x1.025036p-1F,
    0x1.ae0e02p-2F, 0x1.61502cp-2F, 0x1.1f252ap-2F,
    },
    {
    -0x1.972748p-3F, -0x1.104f54p-3F, -0x1.5eab74p-4F, -0x1.b92a92p-5F, -0x1.11941ep-5F,
    -0x1.505e62p-6F, -0x1.9b634p-7F, -0x1.f585d6p-8F, -0x1.2edb24p-8F, -0x1.beecdp-10F,
    -0x1.492c38p-11F, -0x1.e491dap-13F, -0x1.6493bp-14F, -0x1.065e46p-15F, -0x1.821642p-17F,
    -0x1.1c11a4p-18F, -0x1.90f7a6p-20F, -0x1.b21eeap-23F, 0x1.0fe8ap-17F, -0x1.fd25aep-5F,
    -0x1.f5636p-4F, -0x1.6e7daap-3F, -0x1.d77b2ap-3F, -0x1.199062p-2F, -0x1.3fd5bap-2F,
    -0x1.74376ep-2F, -0x1.895392p-2F, -0x1.841d18p-2F, -0x1.6bbd8ap-2F, -0x1.4797p-2F,
    -0x1.1dfa54p-2F, -0x1.e7351p-3F,
    },
    {
    0x1.9a520cp-4F, 0x1.321baap-4F, 0x1.a303cp-5F, 0x1.11119ap-5F, 0x1.59d43ap-6F, 0x1.ae8b34p-7F,
    0x1.09441cp-7F, 0x1.44da4ep-8F, 0x1.769334p-9F, 0x1.14f8f6p-10F, 0x1.98511p-12F,
    0x1.2c9ffcp-13F, 0x1.ba7c08p-15F, 0x1.45977p-16F, 0x1.df213ap-18F, 0x1.608742p-19F,
    0x1.b3c22ep-21F, 0x1.d7c9f2p-24F, -0x1.55ff5ep-2F, -0x1.512004p-2F, -0x1.416d48p-2F,
    -0x1.286afcp-2F, -0x1.07ab1cp-2F, -0x1.c2452p-3F, -0x1.6dd398p-3F, -0x1.7c5b58p-4F,
    -0x1.027e8ep-6F, 0x1.6839d6p-5F, 0x1.56c1fp-4F, 0x1.ae209ap-4F, 0x1.ca59f2p-4F, 0x1.bdcabap-4F,
    },
    {
    -0x1.96be9ap-6F, -0x1.80b49ap-6F, -0x1.252d54p-6F, -0x1.943f0ep-7F, -0x1.082b24p-7F,
    -0x1.4eee8p-8F, -0x1.a12e72p-9F, -0x1.0117b2p-9F, -0x1.efc8c4p-11F, -0x1.6f7f98p-12F,
    -0x1.0f210ap-13F, -0x1.8f5f26p-15F, -0x1.25f31ep-16F, -0x1.b09c64p-18F, -0x1.3e502ep-19F,
    -0x1.d46982p-21F, -0x1.af4ac6p-23F, -0x1.d2f41p-26F, 0x1.105dc8p-6F, 0x1.f312a4p-5F,
    0x1.8dea5cp-4F, 0x1.04b306p-3F, 0x1.32e8f4p-3F, 0x1.5008a8p-3F, 0x1.5b890ap-3F, 0x1.39ede6p-3F,
    0x1.e946dap-4F, 0x1.473bf6p-4F, 0x1.6317fcp-5F, 0x1.d9c10ep-7F, -0x1.6d81a4p-8F,
    -0x1.218c4ap-6F,
    },
  };
};

/// exp(x^2 / 2) Phi(-x), 0 <= x < 15, where Phi(-x) is 0.
struct NormalTailPieces {
  static constexpr float kOrigin = 0x1p+0F;
  static constexpr float kBound = 0x1.dffffep+3F;  ///< just inside the last interval
  static constexpr int kShift = 20;
  /// [power of the distance from the interval's start][interval]
  alignas(64) static constexpr float kCoefficients[5][32] = {
    {
    0x1.0bdb2ep-2F, 0x1.d898dep-3F, 0x1.a57056p-3F, 0x1.7b5abep-3F, 0x1.5845dcp-3F, 0x1.3aaddep-3F,
    0x1.217252p-3F, 0x1.0bb968p-3F, 0x1.f1b89ap-4F, 0x1.b396f8p-4F, 0x1.82b4bcp-4F, 0x1.5b5accp-4F,
    0x1.3b0fbcp-4F, 0x1.201faap-4F, 0x1.095608p-4F, 0x1.eba5fep-5F, 0x1.c9e12p-5F, 0x1.926972p-5F,
    0x1.66ccb8p-5F, 0x1.43a38ap-5F, 0x1.26b4dp-5F, 0x1.0e7dcep-5F, 0x1.f3ddc2p-6F, 0x1.d087aep-6F,
    0x1p-1F, 0x1.d0af2cp-2F, 0x1.a7f808p-2F, 0x1.84b706p-2F, 0x1.66027ap-2F, 0x1.4b1de2p-2F,
    0x1.337024p-2F, 0x1.1e7c2ep-2F,
    },
    {
    -0x1.1951c4p-3F, -0x1.c4927ap-4F, -0x1.71bfep-4F, -0x1.32537p-4F, -0x1.00f9aap-4F,
    -0x1.b4058ap-5F, -0x1.75ab36p-5F, -0x1.432af8p-5F, -0x1.19cdaep-5F, -0x1.b6023p-6F,
    -0x1.5cf8b8p-6F, -0x1.1be252p-6F, -0x1.d6145ep-7F, -0x1.8b18fcp-7F, -0x1.506888p-7F,
    -0x1.21ae6cp-7F, -0x1.f7d2ccp-8F, -0x1.86b6dap-8F, -0x1.378062p-8F, -0x1.fbf1f4p-9F,
    -0x1.a5da4p-9F, -0x1.63cf78p-9F, -0x1.301274p-9F, -0x1.06cd9cp-9F, -0x1.98842ep-2F,
    -0x1.5e6e52p-2F, -0x1.2e863cp-2F, -0x1.06bfap-2F, -0x1.cb0612p-3F, -0x1.93233ap-3F,
    -0x1.63e062p-3F, -0x1.3baf4cp-3F,
    },
    {
    0x1.fc84d4p-5F, 0x1.7b4f5ap-5F, 0x1.2024d8p-5F, 0x1.bd21eep-6F, 0x1.5d17e2p-6F, 0x1.1599eep-6F,
    0x1.bf22b8p-7F, 0x1.6c4e18p-7F, 0x1.2bb73ep-7F, 0x1.a24746p-8F, 0x1.2da888p-8F, 0x1.bf80bep-9F,
    0x1.54071cp-9F, 0x1.07cd8cp-9F, 0x1.a0d1ep-10F, 0x1.4e91b6p-10F, 0x1.1007f8p-10F,
    0x1.75ca42p-11F, 0x1.0b3d08p-11F, 0x1.8abaccp-12F, 0x1.2b79c2p-12F, 0x1.d0d2ccp-13F,
    0x1.6fc25p-13F, 0x1.27d6fp-13F, 0x1.ffed08p-3F, 0x1.a4d322p-3F, 0x1.5c4bb2p-3F, 0x1.2226f4p-3F,
    0x1.e67554p-4F, 0x1.9a3c04p-4F, 0x1.5bf06ep-4F, 0x1.28b91p-4F,
    },
    {
    -0x1.95008cp-6F, -0x1.1b6bbp-6F, -0x1.94a0d4p-7F, -0x1.262ecep-7F, -0x1.b313fcp-8F,
    -0x1.46cd16p-8F, -0x1.f21728p-9F, -0x1.80af5cp-9F, -0x1.2784cap-9F, -0x1.76a56ep-10F,
    -0x1.edcaccp-11F, -0x1.5089cap-11F, -0x1.d852c2p-12F, -0x1.5403b2p-12F, -0x1.f4a2e8p-13F,
    -0x1.77f09ep-13F, -0x1.1967c4p-13F, -0x1.594f16p-14F, -0x1.bd716ap-15F, -0x1.2b603cp-15F,
    -0x1.a07c7p-16F, -0x1.2a4182p-16F, -0x1.b5f336p-17F, -0x1.4889b4p-17F, -0x1.0eaa6p-3F,
    -0x1.ada63cp-4F, -0x1.576818p-4F, -0x1.145668p-4F, -0x1.bfa4f2p-5F, -0x1.6cdc0cp-5F,
    -0x1.2b30b8p-5F, -0x1.ed8ca8p-6F,
    },
    {
    0x1.ec2f96p-8F, 0x1.47feb2p-8F, 0x1.be3938p-9F, 0x1.35658ap-9F, 0x1.b4c2f4p-10F,
    0x1.396eb6p-10F, 0x1.c8da58p-11F, 0x1.51c4bcp-11F, 0x1.b973eap-12F, 0x1.03ee92p-12F,
    0x1.3f4288p-13F, 0x1.96d2a4p-14F, 0x1.0bb4ccp-14F, 0x1.6a7f34p-15F, 0x1.f7625ep-16F,
    0x1.657198p-16F, 0x1.bd61d6p-17F, 0x1.f41e48p-18F, 0x1.290ebcp-18F, 0x1.71ca0ep-19F,
    0x1.ded196p-20F, 0x1.409316p-20F, 0x1.b9d69ep-21F, 0x1.383aaap-21F, 0x1.c103bcp-5F,
    0x1.5aa6ep-5F, 0x1.0d852ep-5F, 0x1.a5fa08p-6F, 0x1.4c87a2p-6F, 0x1.07ba3p-6F, 0x1.a4ebep-7F,
    0x1.51ec96p-7F,
    },
  };
};

/// log(1 + x) / x - 1, 0 <= x <= 1.
struct Log1pPieces {
  static constexpr float kOrigin = 0x1.08p+0F;
  static constexpr float kBound = 0x1.07fffep+0F;  ///< just inside the last interval
  static constexpr int kShift = 18;
  /// [power of the distance from the interval's start][interval]
  alignas(64) static constexpr float kCoefficients[4][32] = {
    {
    -0x1.33f7b4p-2F, -0x1.85071ap-30F, -0x1.f593c8p-7F, -0x1.eb9e82p-6F, -0x1.6991f2p-5F,
    -0x1.d8f892p-5F, -0x1.222406p-4F, -0x1.55dfb6p-4F, -0x1.87cc38p-4F, -0x1.b8041cp-4F,
    -0x1.e69fdp-4F, -0x1.09daeep-3F, -0x1.1fad8ep-3F, -0x1.34d16ap-3F, -0x1.494f76p-3F,
    -0x1.5d3002p-3F, -0x1.707accp-3F, -0x1.833704p-3F, -0x1.956b6ap-3F, -0x1.a71e46p-3F,
    -0x1.b85578p-3F, -0x1.c91686p-3F, -0x1.d9669cp-3F, -0x1.e94a96p-3F, -0x1.f8c704p-3F,
    -0x1.03f01ap-2F, -0x1.0b4d1cp-2F, -0x1.127c6ep-2F, -0x1.197fep-2F, -0x1.205928p-2F,
    -0x1.2709e2p-2F, -0x1.2d9394p-2F,
    },
    {
    -0x1.9472d2p-3F, -0x1.ffff9ep-2F, -0x1.eb6422p-2F, -0x1.d824f8p-2F, -0x1.c62254p-2F,
    -0x1.b54016p-2F, -0x1.a5654ap-2F, -0x1.967bb6p-2F, -0x1.886f86p-2F, -0x1.7b2efp-2F,
    -0x1.6eaa02p-2F, -0x1.62d25ap-2F, -0x1.579afep-2F, -0x1.4cf832p-2F, -0x1.42df5p-2F,
    -0x1.3946aap-2F, -0x1.30256ep-2F, -0x1.277394p-2F, -0x1.1f29bep-2F, -0x1.174132p-2F,
    -0x1.0fb3bep-2F, -0x1.087bb6p-2F, -0x1.0193ep-2F, -0x1.f5eeccp-3F, -0x1.e943aap-3F,
    -0x1.dd1e2p-3F, -0x1.d1768ap-3F, -0x1.c645d6p-3F, -0x1.bb8574p-3F, -0x1.b12f48p-3F,
    -0x1.a73da4p-3F, -0x1.9dab3ep-3F,
    },
    {
    0x1.215832p-4F, 0x1.55183cp-2F, 0x1.3e45e6p-2F, 0x1.298fdap-2F, 0x1.16b6d6p-2F, 0x1.05847ep-2F,
    0x1.eb93d2p-3F, 0x1.cebcdap-3F, 0x1.b43d58p-3F, 0x1.9bd78ap-3F, 0x1.85555ap-3F, 0x1.70873ep-3F,
    0x1.5d434cp-3F, 0x1.4b6476p-3F, 0x1.3ac9dep-3F, 0x1.2b5654p-3F, 0x1.1cefcap-3F, 0x1.0f7efep-3F,
    0x1.02ef1cp-3F, 0x1.ee5adcp-4F, 0x1.d85244p-4F, 0x1.c3a61cp-4F, 0x1.b03afep-4F, 0x1.9df81ep-4F,
    0x1.8cc704p-4F, 0x1.7c9346p-4F, 0x1.6d4a4ep-4F, 0x1.5edb3p-4F, 0x1.51367ap-4F, 0x1.444e0ap-4F,
    0x1.3814f2p-4F, 0x1.2c7f58p-4F,
    },
    {
    -0x1.b1ee32p-6F, -0x1.e749dap-3F, -0x1.ba3426p-3F, -0x1.926666p-3F, -0x1.6f227p-3F,
    -0x1.4fc91cp-3F, -0x1.33d49p-3F, -0x1.1ad3acp-3F, -0x1.04667p-3F, -0x1.e07608p-4F,
    -0x1.bc16bep-4F, -0x1.9b36aep-4F, -0x1.7d6e1ep-4F, -0x1.62634ap-4F, -0x1.49c852p-4F,
    -0x1.33595ep-4F, -0x1.1edb34p-4F, -0x1.0c19f4p-4F, -0x1.f5d01ap-5F, -0x1.d63ac2p-5F,
    -0x1.b92d0ap-5F, -0x1.9e6844p-5F, -0x1.85b4d4p-5F, -0x1.6ee14cp-5F, -0x1.59c1a2p-5F,
    -0x1.462e82p-5F, -0x1.3404c4p-5F, -0x1.2324dcp-5F, -0x1.13727ap-5F, -0x1.04d428p-5F,
    -0x1.ee65dcp-6F, -0x1.d4f42cp-6F,
    },
  };
};

}  // namespace chainrule::simd
