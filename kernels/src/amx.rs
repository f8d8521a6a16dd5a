//! Access to the AMX tile registers: whether there are any, and their configuration.
//!
//! The compiler knows neither the registers nor the instructions, so all of it is inline assembly, and nothing that the compiler makes ever
//! touches a tile.

use std::{
    arch::{
        asm,
        x86_64::{__cpuid, __cpuid_count},
    },
    sync::OnceLock,
};

/// Whether the machine has tiles with products of `bf16` and bytes, and the system lets this process use them. The first call asks
/// for the permission, which the system gives to a process as a whole.
pub(crate) fn is_usable() -> bool {
    static USABLE: OnceLock<bool> = OnceLock::new();
    *USABLE.get_or_init(|| has_instructions() && system_saves_tiles() && permit())
}

fn has_instructions() -> bool {
    /// Leaf 7, EDX: AMX-BF16, AMX-TILE, AMX-INT8.
    const WANTED: u32 = 1 << 22 | 1 << 24 | 1 << 25;
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & WANTED == WANTED
}

/// Whether the system has switched on the state of the tiles: bits 17 and 18 of XCR0.
fn system_saves_tiles() -> bool {
    const TILES: u32 = 1 << 17 | 1 << 18;
    if !is_x86_feature_detected!("xsave") || __cpuid(1).ecx & 1 << 27 == 0 {
        return false;
    }
    let low: u32;
    // SAFETY: the system has enabled XGETBV for programs (OSXSAVE, checked above); register 0 always exists.
    unsafe { asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") _, options(nomem, nostack, preserves_flags)) };
    low & TILES == TILES
}

#[cfg(target_os = "linux")]
fn permit() -> bool {
    const ARCH_PRCTL: u64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    /// The state component that holds the tiles' data.
    const TILE_DATA: u64 = 18;
    let result: u64;
    // SAFETY: a system call that takes no addresses; the kernel clobbers rcx and r11.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") TILE_DATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    result == 0
}

/// Other systems either need no permission but give no way to ask, or have one that isn't supported here.
#[cfg(not(target_os = "linux"))]
fn permit() -> bool {
    false
}

/// The operand of `ldtilecfg`.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_per_row: [u16; 16],
    rows: [u8; 16],
}

/// All eight tiles as 16 rows of 64 bytes.
static CONFIG: Config = {
    let mut config = Config { palette: 1, start_row: 0, reserved: [0; 14], bytes_per_row: [0; 16], rows: [0; 16] };
    let mut tile = 0;
    while tile < 8 {
        config.bytes_per_row[tile] = 64;
        config.rows[tile] = 16;
        tile += 1;
    }
    config
};

/// Configures this thread's tiles: eight of 16 rows of 64 bytes.
///
/// # Safety
/// [`is_usable`] has said yes.
pub(crate) unsafe fn configure() {
    // SAFETY: the machine has the instruction and the process may use tiles; the operand is 64 bytes long and valid.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const CONFIG, options(nostack, readonly, preserves_flags)) };
}

/// Gives this thread's tiles back, so that the system needn't save them when it switches threads.
///
/// # Safety
/// [`is_usable`] has said yes.
pub(crate) unsafe fn release() {
    // SAFETY: the machine has the instruction; it touches tiles alone.
    unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
}
