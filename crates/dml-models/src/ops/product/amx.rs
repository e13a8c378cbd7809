//! The matrix unit of Intel's processors (AMX): tiles of bf16 multiplied, their products added in `f32`.
//!
//! Rust has no stable functions for it; a few instructions of assembly are. No compiled code touches its registers otherwise.

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::marker::PhantomData;
use std::sync::OnceLock;

/// Rows of a tile, and columns of one of results.
pub(super) const SIDE: usize = 16;
/// Numbers of a row of a tile that is multiplied: pairs lie in the place of one number of a result.
pub(super) const DEPTH: usize = 2 * SIDE;
/// Parts that a number of `f32` is the sum of, each a bf16.
pub(super) const PARTS: usize = 3;

/// A tile of pairs of bf16, the first of each pair in the lower half. Of a left matrix `[16, 32]` its lines are rows; of a right one
/// `[32, 16]` line `r` holds rows `2r` and `2r + 1`, column by column.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Tile(pub(super) [u32; SIDE * SIDE]);

impl Tile {
    pub(super) const ZERO: Self = Self([0; SIDE * SIDE]);
}

/// Proof that this process may use the unit.
#[derive(Clone, Copy)]
pub(super) struct Unit(());

impl Unit {
    /// The unit, where the processor has one, the system lends it and `DML_MATRIX_UNIT` is not `off`.
    pub(super) fn of_this_machine() -> Option<Self> {
        static UNIT: OnceLock<Option<Unit>> = OnceLock::new();
        *UNIT.get_or_init(|| {
            // Leaf 7 is there wherever AVX-512 is.
            let there = is_x86_feature_detected!("avx512bw") && {
                let features = __cpuid_count(7, 0).edx;
                let (bf16, tiles) = (features >> 22 & 1, features >> 24 & 1);
                bf16 == 1 && tiles == 1
            };
            let wanted = std::env::var_os("DML_MATRIX_UNIT").is_none_or(|value| value != "off");
            (wanted && there && permitted()).then_some(Unit(()))
        })
    }

    /// Makes the calling thread's tile registers ready until the answer is dropped.
    pub(super) fn ready(self) -> Ready {
        /// As the manual has it: palette, first row after a fault, bytes of a row and rows of each register.
        #[repr(C, align(64))]
        struct Shapes {
            palette: u8,
            start: u8,
            reserved: [u8; 14],
            bytes: [u16; 16],
            rows: [u8; 16],
        }
        let mut shapes = Shapes { palette: 1, start: 0, reserved: [0; 14], bytes: [0; 16], rows: [0; 16] };
        shapes.bytes[..8].fill(64);
        shapes.rows[..8].fill(SIDE as u8);
        // SAFETY: the unit is there and lent, and `shapes` has the 64 bytes that are read.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const shapes, options(nostack, readonly)) };
        Ready(PhantomData)
    }
}

/// Linux keeps no tile registers for a process that has not asked for it (`Documentation/arch/x86/xstate.rst`).
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XTILEDATA: libc::c_long = 18;
    // SAFETY: the call takes two numbers and touches no memory of ours; a kernel that does not know it says so.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0 }
}

/// The calling thread's tile registers: they are given back when this is dropped. Like a pointer, it does not leave the thread.
pub(super) struct Ready(PhantomData<*const Tile>);

impl Drop for Ready {
    fn drop(&mut self) {
        // SAFETY: the unit is there, since this value is.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// Four products of a part of two left panels and a part of two right ones.
macro_rules! four_products {
    () => {
        "tdpbf16ps tmm0, tmm4, tmm6\ntdpbf16ps tmm1, tmm4, tmm7\ntdpbf16ps tmm2, tmm5, tmm6\ntdpbf16ps tmm3, tmm5, tmm7"
    };
}
macro_rules! left {
    ($part:literal) => {
        concat!(
            "tileloadd tmm4, [{a0} + {line} + 1024*",
            $part,
            "]\ntileloadd tmm5, [{a1} + {line} + 1024*",
            $part,
            "]"
        )
    };
}
macro_rules! right {
    ($part:literal) => {
        concat!(
            "tileloadd tmm6, [{b0} + {line} + 1024*",
            $part,
            "]\ntileloadd tmm7, [{b1} + {line} + 1024*",
            $part,
            "]"
        )
    };
}

/// The products of each block of four panels, whose tiles take so many bytes of a block.
macro_rules! each_block {
    ($panels:ident, $blocks:ident, $bytes:literal, $($product:expr),+) => {
        asm!(
            "2:",
            $($product,)+
            concat!("add {a0}, ", $bytes, "\nadd {a1}, ", $bytes, "\nadd {b0}, ", $bytes, "\nadd {b1}, ", $bytes),
            "dec {blocks}",
            "jnz 2b",
            a0 = inout(reg) $panels[0] => _, a1 = inout(reg) $panels[1] => _,
            b0 = inout(reg) $panels[2] => _, b1 = inout(reg) $panels[3] => _,
            blocks = inout(reg) $blocks => _, line = in(reg) 4 * SIDE, options(nostack, readonly),
        )
    };
}

impl Ready {
    /// `out [32, 32] (+)= left [32, depth] · right [depth, 32]`. Of a panel, `[blocks, parts]` tiles, each number is the sum of its
    /// parts in one tile or three, the largest first. Rows of `out` are `stride` numbers apart.
    ///
    /// Of the nine products of three parts the three smallest are left out: the larger two are 2⁻²⁴ of the product at most, what rounding it
    /// to `f32` takes at most, and of either sign.
    ///
    /// # Safety
    /// `out` must have room for 32 such rows, which must hold numbers if they are added to.
    pub(super) unsafe fn multiply(
        &self,
        left: [&[Tile]; 2],
        right: [&[Tile]; 2],
        parts: usize,
        out: *mut f32,
        stride: usize,
        add: bool,
    ) {
        let blocks = left[0].len() / parts;
        let same = [left[0], left[1], right[0], right[1]].iter().all(|panel| panel.len() == blocks * parts);
        assert!(same && blocks > 0 && (parts == 1 || parts == PARTS), "amx: panels of different depths");
        let bytes = 4 * stride;
        // SAFETY: `out` has 32 rows of 32 numbers, `stride` apart, and each panel has `blocks` times `parts` tiles of 1024 bytes,
        // which is what the loops walk through. No compiled code uses tile registers, and this thread's are ready.
        unsafe {
            let corners = [out, out.add(SIDE), out.add(SIDE * stride), out.add(SIDE * stride + SIDE)];
            if add {
                asm!(
                    "tileloadd tmm0, [{o0} + {bytes}]", "tileloadd tmm1, [{o1} + {bytes}]",
                    "tileloadd tmm2, [{o2} + {bytes}]", "tileloadd tmm3, [{o3} + {bytes}]",
                    o0 = in(reg) corners[0], o1 = in(reg) corners[1], o2 = in(reg) corners[2], o3 = in(reg) corners[3],
                    bytes = in(reg) bytes, options(nostack, readonly),
                );
            } else {
                asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nostack, nomem));
            }
            let panels = [left[0].as_ptr(), left[1].as_ptr(), right[0].as_ptr(), right[1].as_ptr()];
            if parts == 1 {
                each_block!(panels, blocks, "1024", left!("0"), right!("0"), four_products!());
            } else {
                // The small ones first.
                each_block!(
                    panels,
                    blocks,
                    "3072",
                    left!("2"),
                    right!("0"),
                    four_products!(),
                    left!("1"),
                    four_products!(),
                    right!("1"),
                    four_products!(),
                    left!("0"),
                    four_products!(),
                    right!("2"),
                    four_products!(),
                    right!("0"),
                    four_products!()
                );
            }
            asm!(
                "tilestored [{o0} + {bytes}], tmm0", "tilestored [{o1} + {bytes}], tmm1",
                "tilestored [{o2} + {bytes}], tmm2", "tilestored [{o3} + {bytes}], tmm3",
                o0 = in(reg) corners[0], o1 = in(reg) corners[1], o2 = in(reg) corners[2], o3 = in(reg) corners[3],
                bytes = in(reg) bytes, options(nostack),
            );
        }
    }
}
