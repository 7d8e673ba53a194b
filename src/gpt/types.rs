//! Partition types by name (repart.d(5), "Type="; the values are those of the Discoverable Partitions Specification,
//! UAPI.2), and the types that unfinished partitions have instead.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};

use crate::metadata::Uuid;

/// A partition's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PartitionType(pub Uuid);

/// What a partition of a type is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Root,
    RootVerity,
    RootSignature,
    Usr,
    UsrVerity,
    UsrSignature,
    General(&'static str),
}

impl PartitionType {
    /// What is meant where no type is named.
    pub const LINUX_GENERIC: Self = Self(uuid(0x0fc6_3daf_8483_4772_8e79_3d69_d847_7de4));

    /// Reads a name, or a UUID. `architecture` is systemd's name of this machine's: what names without one mean.
    #[must_use]
    pub fn parse(text: &str, architecture: Option<&str>) -> Option<Self> {
        if let Some(uuid) = Uuid::from_hex(text) {
            return Some(Self(uuid));
        }
        if let Some((_, value)) = GENERAL.iter().find(|(name, _)| *name == text) {
            return Some(Self(uuid(*value)));
        }
        let (first, rest) = match (text.strip_prefix("root"), text.strip_prefix("usr")) {
            (Some(rest), _) => (0, rest),
            (_, Some(rest)) => (3, rest),
            _ => return None,
        };
        let (rest, offset) = match rest.strip_suffix("-verity-sig") {
            Some(rest) => (rest, 2),
            None => match rest.strip_suffix("-verity") {
                Some(rest) => (rest, 1),
                None => (rest, 0),
            },
        };
        let name = match rest {
            "" => architecture?,
            "-secondary" => secondary(architecture?)?,
            named => named.strip_prefix('-')?,
        };
        let name = ALIASES
            .iter()
            .find(|(alias, _)| *alias == name)
            .map_or(name, |(_, name)| name);
        let (_, values) = ARCHITECTURES.iter().find(|(known, _)| *known == name)?;
        Some(Self(uuid(values[first + offset])))
    }

    /// The type while data is being written: what is left behind by a run that was cut off.
    #[must_use]
    pub fn partial(self) -> Self {
        self.derived(PARTIAL)
    }

    /// The type while it waits for its installation.
    #[must_use]
    pub fn pending(self) -> Self {
        self.derived(PENDING)
    }

    /// The first half of HMAC-SHA-256 keyed with the type over an application's id, made a UUID of version 4 (compat 3,
    /// section 3.2 rule 4).
    fn derived(self, application: u128) -> Self {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&self.0.0)
            .expect("HMAC takes keys of every length");
        mac.update(&application.to_be_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(Uuid(bytes))
    }

    fn purpose(self) -> Option<(Purpose, Option<&'static str>)> {
        let value = u128::from_be_bytes(self.0.0);
        if let Some((name, _)) = GENERAL.iter().find(|(_, known)| *known == value) {
            return Some((Purpose::General(name), None));
        }
        ARCHITECTURES.iter().find_map(|(name, values)| {
            let index = values.iter().position(|known| *known == value)?;
            Some((PURPOSES[index], Some(*name)))
        })
    }

    /// Whether what follows the payload is zeroed unless a definition says otherwise: signatures are read to the end of
    /// their partition.
    #[must_use]
    pub fn is_zero_filled(self) -> bool {
        matches!(
            self.purpose(),
            Some((Purpose::RootSignature | Purpose::UsrSignature, _))
        )
    }

    /// Whether the type knows the attribute bits "no auto", "read-only" and "grow file system", in this order.
    #[must_use]
    pub fn known_flags(self) -> [bool; 3] {
        match self.purpose() {
            Some((
                Purpose::Root
                | Purpose::Usr
                | Purpose::General("home" | "srv" | "var" | "tmp" | "xbootldr"),
                _,
            )) => [true, true, true],
            Some((Purpose::RootVerity | Purpose::UsrVerity, _)) => [true, true, false],
            Some((Purpose::General("swap"), _)) => [true, false, false],
            _ => [false, false, false],
        }
    }
}

/// The UUID, and the name if it has one: `4f68bce3-… (root-x86-64)`.
impl fmt::Display for PartitionType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)?;
        let Some((purpose, architecture)) = self.purpose() else {
            return Ok(());
        };
        let (base, suffix) = match purpose {
            Purpose::Root => ("root", ""),
            Purpose::RootVerity => ("root", "-verity"),
            Purpose::RootSignature => ("root", "-verity-sig"),
            Purpose::Usr => ("usr", ""),
            Purpose::UsrVerity => ("usr", "-verity"),
            Purpose::UsrSignature => ("usr", "-verity-sig"),
            Purpose::General(name) => (name, ""),
        };
        match architecture {
            Some(architecture) => write!(formatter, " ({base}-{architecture}{suffix})"),
            None => write!(formatter, " ({base}{suffix})"),
        }
    }
}

/// The other architecture whose programs a machine runs.
fn secondary(architecture: &str) -> Option<&'static str> {
    SECONDARY
        .iter()
        .find(|(first, _)| *first == architecture)
        .map(|(_, second)| *second)
}

const fn uuid(value: u128) -> Uuid {
    Uuid(value.to_be_bytes())
}

/// In the order of [`ARCHITECTURES`].
const PURPOSES: [Purpose; 6] = [
    Purpose::Root,
    Purpose::RootVerity,
    Purpose::RootSignature,
    Purpose::Usr,
    Purpose::UsrVerity,
    Purpose::UsrSignature,
];

/// The application's id of partitions that are being written.
const PARTIAL: u128 = 0xaccf_a0c2_da24_460a_9fc9_0bb8_fc78_5219;
/// The application's id of partitions that wait.
const PENDING: u128 = 0x80f3_d61e_2383_43b9_81f5_ce37_93f4_7d4c;

const GENERAL: &[(&str, u128)] = &[
    ("esp", 0xc12a_7328_f81f_11d2_ba4b_00a0_c93e_c93b),
    ("xbootldr", 0xbc13_c2ff_59e6_4262_a352_b275_fd6f_7172),
    ("swap", 0x0657_fd6d_a4ab_43c4_84e5_0933_c84b_4f4f),
    ("home", 0x933a_c7e1_2eb4_4f13_b844_0e14_e2ae_f915),
    ("srv", 0x3b8f_8425_20e0_4f3b_907f_1a25_a76f_98e8),
    ("var", 0x4d21_b016_b534_45c2_a9fb_5c16_e091_fd2d),
    ("tmp", 0x7ec6_f557_3bc5_4aca_b293_16ef_5df6_39d1),
    ("user-home", 0x773f_91ef_66d4_49b5_bd83_d683_bf40_ad16),
    ("linux-generic", 0x0fc6_3daf_8483_4772_8e79_3d69_d847_7de4),
];

const SECONDARY: &[(&str, &str)] = &[
    ("x86-64", "x86"),
    ("arm64", "arm"),
    ("mips64", "mips"),
    ("mips64-le", "mips-le"),
    ("ppc64", "ppc"),
    ("s390x", "s390"),
    ("riscv64", "riscv32"),
];

#[rustfmt::skip]
const ALIASES: &[(&str, &str)] = &[
    ("armv7l", "arm"), ("aarch64", "arm64"), ("loong64", "loongarch64"), ("mipsel", "mips-le"), ("mips64el", "mips64-le"),
    ("hppa", "parisc"), ("ppc64le", "ppc64-le"), ("ppc64el", "ppc64-le"), ("i386", "x86"), ("i486", "x86"), ("i586", "x86"),
    ("i686", "x86"), ("x86_64", "x86-64"), ("amd64", "x86-64"),
];

/// By architecture: root, its verity data, the signature of that; the same of `/usr`.
#[rustfmt::skip]
const ARCHITECTURES: &[(&str, [u128; 6])] = &[
    ("alpha", [0x6523_f8ae_3eb1_4e2a_a05a_18b6_95ae_656f, 0xfc56_d9e9_e6e5_4c06_be32_e744_07ce_09a5, 0xd464_95b7_a053_414f_80f7_700c_9992_1ef8, 0xe18c_f08c_33ec_4c0d_8246_c6c6_fb3d_a024, 0x8cce_0d25_c0d0_4a44_bd87_4633_1bf1_df67, 0x5c6e_1c76_076a_457a_a0fe_f3b4_cd21_ce6e]),
    ("arc", [0xd27f_46ed_2919_4cb8_bd25_9531_f3c1_6534, 0x24b2_d975_0f97_4521_afa1_cd53_1e42_1b8d, 0x143a_70ba_cbd3_4f06_919f_6c05_683a_78bc, 0x7978_a683_6316_4922_bbee_38bf_f5a2_fecc, 0xfca0_598c_d880_4591_8c16_4eda_05c7_347c, 0x94f9_a9a1_9971_427a_a400_50cb_297f_0f35]),
    ("arm", [0x69da_d710_2ce4_4e3c_b16c_21a1_d49a_bed3, 0x7386_cdf2_203c_47a9_a498_f2ec_ce45_a2d6, 0x42b0_455f_eb11_491d_98d3_5614_5ba9_d037, 0x7d03_59a3_02b3_4f0a_865c_6544_03e7_0625, 0xc215_d751_7bcd_4649_be90_6627_490a_4c05, 0xd7ff_812f_37d1_4902_a810_d76b_a57b_975a]),
    ("arm64", [0xb921_b045_1df0_41c3_af44_4c6f_280d_3fae, 0xdf33_00ce_d69f_4c92_978c_9bfb_0f38_d820, 0x6db6_9de6_29f4_4758_a7a5_9621_90f0_0ce3, 0xb0e0_1050_ee5f_4390_949a_9101_b171_04e9, 0x6e11_a4e7_fbca_4ded_b9e9_e1a5_12bb_664e, 0xc23c_e4ff_44bd_4b00_b2d4_b41b_3419_e02a]),
    ("ia64", [0x993d_8d3d_f80e_4225_855a_9daf_8ed7_ea97, 0x86ed_10d5_b607_45bb_8957_d350_f23d_0571, 0xe98b_36ee_32ba_4882_9b12_0ce1_4655_f46a, 0x4301_d2a6_4e3b_4b2a_bb94_9e0b_2c42_25ea, 0x6a49_1e03_3be7_4545_8e38_8332_0e0e_a880, 0x8de5_8bc2_2a43_460d_b14e_a76e_4a17_b47f]),
    ("loongarch64", [0x7705_5800_792c_4f94_b39a_98c9_1b76_2bb6, 0xf339_3b22_e9af_4613_a948_9d3b_fbd0_c535, 0x5afb_67eb_ecc8_4f85_ae8e_ac1e_7c50_e7d0, 0xe611_c702_575c_4cbe_9a46_434f_a0bf_7e3f, 0xf46b_2c26_59ae_48f0_9106_c50e_d47f_673d, 0xb024_f315_d330_444c_8461_44bb_de52_4e99]),
    ("mips", [0xe943_4544_6e2c_47cc_bae2_12d6_deaf_b44c, 0x7a43_0799_f711_4c7e_8e5b_1d68_5bd4_8607, 0xbba2_10a2_9c5d_45ee_9e87_ff2c_cbd0_02d0, 0x773b_2abc_2a99_4398_8bf5_03ba_ac40_d02b, 0x6e5a_1bc8_d223_49b7_bca8_37a5_fcce_b996, 0x97ae_158d_f216_497b_8057_f7f9_0577_0f54]),
    ("mips64", [0xd113_af76_80ef_41b4_bdb6_0cff_4d3d_4a25, 0x5795_36f8_6a33_4055_a95a_df2d_5e2c_42a8, 0x43ce_94d4_0f3d_4999_8250_b9de_afd9_8e6e, 0x57e1_3958_7331_4365_8e6e_35ee_ee17_c61b, 0x81cf_9d90_7458_4df4_8dcf_c8a3_a404_f09b, 0x0581_6ce2_dd40_4ac6_a61d_37d3_2dc1_ba7d]),
    ("mips-le", [0x37c5_8c8a_d913_4156_a25f_48b1_b64e_07f0, 0xd7d1_50d2_2a04_4a33_8f12_1665_1205_ff7b, 0xc919_cc1f_4456_4eff_918c_f75e_9452_5ca5, 0x0f48_68e9_9952_4706_979f_3ed3_a473_e947, 0x46b9_8d8d_b55c_4e8f_aab3_37fc_a7f8_0752, 0x3e23_ca0b_a4bc_4b4e_8087_5ab6_a26a_a8a9]),
    ("mips64-le", [0x700b_da43_7a34_4507_b179_eeb9_3d7a_7ca3, 0x16b4_17f8_3e06_4f57_8dd2_9b52_32f4_1aa6, 0x904e_58ef_5c65_4a31_9c57_6af5_fc7c_5de7, 0xc97c_1f32_ba06_40b4_9f22_2360_61b0_8aa8, 0x3c3d_61fe_b5f3_414d_bb71_8739_a694_a4ef, 0xf2c2_c7ee_adcc_4351_b5c6_ee98_16b6_6e16]),
    ("parisc", [0x1aac_db3b_5444_4138_bd9e_e5c2_239b_2346, 0xd212_a430_fbc5_49f9_a983_a7fe_ef2b_8d0e, 0x15de_6170_65d3_431c_916e_b0dc_d839_3f25, 0xdc4a_4480_6917_4262_a4ec_db93_8494_9f25, 0x5843_d618_ec37_48d7_9f12_cea8_e087_68b2, 0x450d_d7d1_3224_45ec_9cf2_a43a_346d_71ee]),
    ("ppc", [0x1de3_f1ef_fa98_47b5_8dcd_4a86_0a65_4d78, 0x98cf_e649_1588_46dc_b2f0_add1_4742_4925, 0x1b31_b5aa_add9_463a_b2ed_bd46_7fc8_57e7, 0x7d14_fec5_cc71_415d_9d6c_06bf_0b3c_3eaf, 0xdf76_5d00_270e_49e5_bc75_f47b_b211_8b09, 0x7007_891d_d371_4a80_86a4_5cb8_75b9_302e]),
    ("ppc64", [0x912a_de1d_a839_4913_8964_a10e_ee08_fbd2, 0x9225_a9a3_3c19_4d89_b4f6_eeff_88f1_7631, 0xf5e2_c20c_45b2_4ffa_bce9_2a60_737e_1aaf, 0x2c97_39e2_f068_46b3_9fd0_01c5_a9af_bcca, 0xbdb5_28a5_a259_475f_a87d_da53_fa73_6a07, 0x0b88_8863_d7f8_4d9e_9766_239f_ce4d_58af]),
    ("ppc64-le", [0xc31c_45e6_3f39_412e_80fb_4809_c498_0599, 0x906b_d944_4589_4aae_a4e4_dd98_3917_446a, 0xd4a2_36e7_e873_4c07_bf1d_bf6c_f7f1_c3c6, 0x15bb_03af_77e7_4d4a_b12b_c0d0_84f7_491c, 0xee2b_9983_21e8_4153_86d9_b690_1a54_d1ce, 0xc8bf_bd1e_268e_4521_8bba_bf31_4c39_9557]),
    ("riscv32", [0x60d5_a7fe_8e7d_435c_b714_3dd8_1621_44e1, 0xae02_53be_1167_4007_ac68_4392_6c14_c5de, 0x3a11_2a75_8729_4380_b4cf_764d_7993_4448, 0xb933_fb22_5c3f_4f91_af90_e2bb_0fa5_0702, 0xcb1e_e4e3_8cd0_4136_a0a4_aa61_a32e_8730, 0xc383_6a13_3137_45ba_b583_b16c_50fe_5eb4]),
    ("riscv64", [0x72ec_70a6_cf74_40e6_bd49_4bda_08e8_f224, 0xb6ed_5582_440b_4209_b8da_5ff7_c419_ea3d, 0xefe0_f087_ea8d_4469_821a_4c2a_96a8_386a, 0xbeae_c34b_8442_439b_a40b_9843_81ed_097d, 0x8f10_56be_9b05_47c4_81d6_be53_128e_5b54, 0xd2f9_000a_7a18_453f_b5cd_4d32_f77a_7b32]),
    ("s390", [0x08a7_acea_624c_4a20_91e8_6e0f_a67d_23f9, 0x7ac6_3b47_b25c_463b_8df8_b4a9_4e6c_90e1, 0x3482_388e_4254_435a_a241_766a_065f_9960, 0xcd0f_869b_d0fb_4ca0_b141_9ea8_7cc7_8d66, 0xb663_c618_e7bc_4d6d_90aa_11b7_56bb_1797, 0x1744_0e4f_a8d0_467f_a46e_3912_ae6e_f2c5]),
    ("s390x", [0x5eea_d9a9_fe09_4a1e_a1d7_520d_0053_1306, 0xb325_bfbe_c7be_4ab8_8357_139e_652d_2f6b, 0xc801_87a5_73a3_491a_901a_017c_3fa9_53e9, 0x8a4f_5770_50aa_4ed3_874a_99b7_10db_6fea, 0x3174_1cc4_1a2a_4111_a581_e00b_447d_2d06, 0x3f32_4816_667b_46ae_86ee_9b0c_0c6c_11b4]),
    ("tilegx", [0xc50c_dd70_3862_4cc3_90e1_809a_8c93_ee2c, 0x9660_61ec_28e4_4b2e_b4a5_1f0a_825a_1d84, 0xb367_1439_97b0_4a53_90f7_2d5a_8f3a_d47b, 0x5549_7029_c7c1_44cc_aa39_815e_d155_8630, 0x2fb4_bf56_07fa_42da_8132_6b13_9f20_26ae, 0x4ede_75e2_6ccc_4cc8_b9c7_7033_4b08_7510]),
    ("x86", [0x4447_9540_f297_41b2_9af7_d131_d5f0_458a, 0xd13c_5d3b_b5d1_422a_b29f_9454_fdc8_9d76, 0x5996_fc05_109c_48de_808b_23fa_0830_b676, 0x7525_0d76_8cc6_458e_bd66_bd47_cc81_a812, 0x8f46_1b0d_14ee_4e81_9aa9_049b_6fb9_7abd, 0x974a_71c0_de41_43c3_be5d_5c5c_cd1a_d2c0]),
    ("x86-64", [0x4f68_bce3_e8cd_4db1_96e7_fbca_f984_b709, 0x2c73_57ed_ebd2_46d9_aec1_23d4_37ec_2bf5, 0x4109_2b05_9fc8_4523_994f_2def_0408_b176, 0x8484_680c_9521_48c6_9c11_b072_0656_f69e, 0x77ff_5f63_e7b6_4633_acf4_1565_b864_c0e6, 0xe7bb_33fb_06cf_4e81_8273_e543_b413_e2e2]),
];
