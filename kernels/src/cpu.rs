//! What this machine can run, found once, and the override that forces a lower level.

use std::{fmt, str::FromStr, sync::OnceLock};

/// The environment variable that forces a lower level: `scalar`, `neon`, `neondotprod`, `avx2`, `avxvnni`, `avx512`, `avx512vnni` or `amx`.
pub const LEVEL_VARIABLE: &str = "LOQUAT_CPU";

/// An instruction-set level: a set of features that kernels are written for.
///
/// Ordered: a machine that has a level has all lower ones of its architecture, but for [`AvxVnni`](Level::AvxVnni).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Level {
    /// No explicit SIMD; whatever the target's baseline lets the compiler do.
    Scalar,
    /// AArch64 Advanced SIMD.
    Neon,
    /// The same with dot products of bytes (FEAT_DotProd).
    NeonDotprod,
    /// x86-64 AVX2 with FMA (x86-64-v3).
    Avx2,
    /// The same with AVX-VNNI: dot products of bytes in vectors of 256 bits, which processors without AVX-512 have.
    AvxVnni,
    /// x86-64 AVX-512 F, BW, CD, DQ and VL (x86-64-v4).
    Avx512,
    /// AVX-512 with VNNI: dot products of bytes.
    Avx512Vnni,
    /// The same with BF16 conversions and AMX tiles for `bf16` and bytes.
    Amx,
}

impl Level {
    const ALL: [Level; 8] = [
        Level::Scalar,
        Level::Neon,
        Level::NeonDotprod,
        Level::Avx2,
        Level::AvxVnni,
        Level::Avx512,
        Level::Avx512Vnni,
        Level::Amx,
    ];

    /// The name that [`LEVEL_VARIABLE`] takes.
    pub fn name(self) -> &'static str {
        match self {
            Level::Scalar => "scalar",
            Level::Neon => "neon",
            Level::NeonDotprod => "neondotprod",
            Level::Avx2 => "avx2",
            Level::AvxVnni => "avxvnni",
            Level::Avx512 => "avx512",
            Level::Avx512Vnni => "avx512vnni",
            Level::Amx => "amx",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A level name that isn't one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown CPU level {found:?}: use one of scalar, neon, neondotprod, avx2, avxvnni, avx512, avx512vnni, amx")]
pub struct ParseLevelError {
    /// The name that was given.
    pub found: String,
}

impl FromStr for Level {
    type Err = ParseLevelError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Level::ALL
            .into_iter()
            .find(|level| level.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| ParseLevelError { found: name.to_owned() })
    }
}

/// CPU features that some kernel needs, as a set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Features(u32);

impl Features {
    /// The empty set.
    pub const NONE: Features = Features(0);
    /// AVX2 with FMA and F16C: all of x86-64-v3.
    pub const AVX2_FMA: Features = Features(1);
    /// AVX-512 F, BW, CD, DQ, VL: all of x86-64-v4.
    pub const AVX512: Features = Features(1 << 1);
    /// AArch64 Advanced SIMD.
    pub const NEON: Features = Features(1 << 2);
    /// AVX-512 VNNI.
    pub const AVX512_VNNI: Features = Features(1 << 3);
    /// AMX tiles with products of `bf16` and of bytes, and the AVX-512 conversions to `bf16`.
    pub const AMX: Features = Features(1 << 4);

    /// AVX-VNNI: the VEX-encoded dot products of bytes.
    pub const AVX_VNNI: Features = Features(1 << 5);
    /// AArch64 dot products of bytes.
    pub const NEON_DOTPROD: Features = Features(1 << 6);

    const NAMES: [(Features, &'static str); 7] = [
        (Features::AVX2_FMA, "avx2+fma"),
        (Features::AVX512, "avx512"),
        (Features::NEON, "neon"),
        (Features::AVX512_VNNI, "avx512vnni"),
        (Features::AMX, "amx"),
        (Features::AVX_VNNI, "avxvnni"),
        (Features::NEON_DOTPROD, "dotprod"),
    ];

    /// Both sets together.
    pub const fn union(self, other: Features) -> Features {
        Features(self.0 | other.0)
    }

    /// Whether every feature of `other` is in this set.
    pub const fn contains(self, other: Features) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (feature, name) in Features::NAMES {
            if self.contains(feature) {
                write!(f, "{}{name}", if first { "" } else { " " })?;
                first = false;
            }
        }
        if first { f.write_str("none") } else { Ok(()) }
    }
}

/// Why there is no [`Cpu`] for a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CpuError {
    /// The environment names a level that doesn't exist.
    #[error("environment variable {LEVEL_VARIABLE}: {source}")]
    Variable {
        /// What is wrong with the value.
        source: ParseLevelError,
    },
    /// The level exists, but this machine lacks it.
    #[error("this machine has no {level}: its best level is {best} (unset {LEVEL_VARIABLE} to use it)")]
    Unavailable {
        /// The level that was asked for.
        level: Level,
        /// The highest level here.
        best: Level,
    },
}

/// A level that this machine is known to have.
///
/// There is no way to make a `Cpu` for a level the machine lacks, so a kernel that gets one may use the level's
/// instructions.
///
/// ```
/// use loquat_kernels::Cpu;
/// let cpu = Cpu::detect()?;
/// println!("running at {} ({})", cpu.level(), cpu.features());
/// # Ok::<(), loquat_kernels::CpuError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    level: Level,
    features: Features,
    arch: pulp::Arch,
}

impl Cpu {
    /// The best level of this machine, or the one that [`LEVEL_VARIABLE`] names.
    ///
    /// # Errors
    /// If the variable names no level, or one that this machine lacks.
    pub fn detect() -> Result<Cpu, CpuError> {
        match std::env::var(LEVEL_VARIABLE) {
            Ok(name) if !name.is_empty() => {
                Cpu::with_level(name.parse().map_err(|source| CpuError::Variable { source })?)
            }
            _ => Ok(best()),
        }
    }

    /// The given level.
    ///
    /// # Errors
    /// If this machine lacks it.
    pub fn with_level(level: Level) -> Result<Cpu, CpuError> {
        probe(level).ok_or(CpuError::Unavailable { level, best: best().level })
    }

    /// Every level of this machine, lowest first.
    pub fn available() -> Vec<Cpu> {
        Level::ALL.into_iter().filter_map(probe).collect()
    }

    /// The level that kernels run at.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The features that kernels may use at this level.
    pub fn features(&self) -> Features {
        self.features
    }

    /// The level of the vectors that row-wise kernels use: a level that only adds matrix products has those of the one below.
    pub fn vector_level(&self) -> Level {
        match self.level {
            Level::Avx512Vnni | Level::Amx => Level::Avx512,
            Level::AvxVnni => Level::Avx2,
            Level::NeonDotprod => Level::Neon,
            level => level,
        }
    }

    /// The same level in the terms of the SIMD library that the row-wise kernels are written in.
    pub(crate) fn arch(&self) -> pulp::Arch {
        self.arch
    }
}

fn best() -> Cpu {
    static BEST: OnceLock<Cpu> = OnceLock::new();
    *BEST.get_or_init(|| Level::ALL.into_iter().rev().find_map(probe).unwrap_or(SCALAR))
}

const SCALAR: Cpu = Cpu { level: Level::Scalar, features: Features::NONE, arch: pulp::Arch::Scalar };

/// The level, if this machine has it. `pulp`'s tokens ask CPUID and XCR0 for the whole feature set of the level.
fn probe(level: Level) -> Option<Cpu> {
    match level {
        Level::Scalar => Some(SCALAR),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => pulp::x86::V3::try_new().filter(|_| is_x86_feature_detected!("f16c")).map(|v3| Cpu {
            level,
            features: Features::AVX2_FMA,
            arch: pulp::Arch::V3(v3),
        }),
        #[cfg(target_arch = "x86_64")]
        Level::AvxVnni => {
            let cpu = probe(Level::Avx2).filter(|_| is_x86_feature_detected!("avxvnni"))?;
            Some(Cpu { level, features: cpu.features.union(Features::AVX_VNNI), ..cpu })
        }
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => pulp::x86::V4::try_new().map(|v4| Cpu {
            level,
            features: Features::AVX2_FMA.union(Features::AVX512),
            arch: pulp::Arch::V4(v4),
        }),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512Vnni => {
            let cpu = probe(Level::Avx512).filter(|_| is_x86_feature_detected!("avx512vnni"))?;
            Some(Cpu { level, features: cpu.features.union(Features::AVX512_VNNI), ..cpu })
        }
        #[cfg(target_arch = "x86_64")]
        Level::Amx => {
            let cpu = probe(Level::Avx512Vnni)
                .filter(|_| is_x86_feature_detected!("avx512bf16") && crate::amx::is_usable())?;
            Some(Cpu { level, features: cpu.features.union(Features::AMX), ..cpu })
        }
        #[cfg(target_arch = "aarch64")]
        Level::Neon => pulp::aarch64::Neon::try_new().map(|neon| Cpu {
            level,
            features: Features::NEON,
            arch: pulp::Arch::Neon(neon),
        }),
        #[cfg(target_arch = "aarch64")]
        Level::NeonDotprod => {
            let cpu = probe(Level::Neon).filter(|_| std::arch::is_aarch64_feature_detected!("dotprod"))?;
            Some(Cpu { level, features: cpu.features.union(Features::NEON_DOTPROD), ..cpu })
        }
        #[allow(unreachable_patterns)]
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back() {
        for level in Level::ALL {
            assert_eq!(level.name().parse(), Ok(level));
        }
        assert!("mmx".parse::<Level>().unwrap_err().to_string().contains("mmx"));
    }

    #[test]
    fn scalar_is_always_there_and_levels_ascend() {
        let levels: Vec<Level> = Cpu::available().iter().map(Cpu::level).collect();
        assert_eq!(levels[0], Level::Scalar);
        assert!(levels.is_sorted());
    }

    #[test]
    fn a_level_of_another_architecture_is_refused_by_name() {
        let foreign = if cfg!(target_arch = "x86_64") { Level::Neon } else { Level::Avx2 };
        let error = Cpu::with_level(foreign).unwrap_err();
        assert!(error.to_string().contains(foreign.name()), "{error}");
    }

    /// A build machine that has a level but doesn't test it would be a silent skip.
    #[test]
    fn machine_features_become_levels() {
        #[cfg(target_arch = "x86_64")]
        {
            let has = |level| Cpu::with_level(level).is_ok();
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            assert_eq!(has(Level::Avx2), avx2 && is_x86_feature_detected!("f16c"));
            assert_eq!(
                has(Level::Avx512),
                is_x86_feature_detected!("avx512vl") && is_x86_feature_detected!("avx512dq")
            );
            assert_eq!(has(Level::AvxVnni), has(Level::Avx2) && is_x86_feature_detected!("avxvnni"));
            assert_eq!(has(Level::Avx512Vnni), has(Level::Avx512) && is_x86_feature_detected!("avx512vnni"));
            #[cfg(target_os = "linux")]
            {
                let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap();
                let wanted = ["avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8"];
                let all = wanted.iter().all(|flag| flags.split_whitespace().any(|found| found == *flag));
                assert_eq!(has(Level::Amx), all);
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            assert!(Cpu::with_level(Level::Neon).is_ok());
            let dotprod = std::arch::is_aarch64_feature_detected!("dotprod");
            assert_eq!(Cpu::with_level(Level::NeonDotprod).is_ok(), dotprod);
        }
    }
}
