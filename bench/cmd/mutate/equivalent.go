package main

import "regexp"

// equivalence is a mutant that no test can catch, since the kernel still keeps
// its contract.
type equivalence struct {
	// Patterns of the whole text, before of the instruction in front of it; empty: any.
	function, operator, before, original, mutated string
	reason                                        string
}

// loose is the reason of a mutant that GELU's bounds of 1e-6·|x| and, for the
// derivative, 2e-6·(1+|x|) have room for: measured over all sizes of x, the
// kernels need 0.12 and 0.06 of them.
const loose = "of the bound of GELU and GELUGrad the error is 0.90 and 0.36 without the term in r^6 (0.69 of GELUGrad's with the wrong sign), " +
	"0.64 and 0.18 without the low part of ln 2 (0.32 with the wrong sign), 0.88 and 0.35 with 2^-8 of the coefficient of r^4, less of r^5"

// equivalences are looked up for survivors only. A pattern may fit more than
// the mutants that it is meant for where the others are caught.
var equivalences = []equivalence{
	// Tails.
	{original: `DATA prefix\+0 .*`,
		reason: "a tail has 1 to 7 lanes: lane 0 belongs to the mask for 8, which is never loaded"},
	{original: `DATA prefix\+60 .*`,
		reason: "a tail has 1 to 7 lanes: lane 15 belongs to the mask for none, which is never loaded"},
	{operator: "jump", original: `JZ end\d+`, mutated: `\(none\)`,
		reason: "with nothing left the mask is empty: the tail loads zeros, adds zeros and stores nothing"},
	{function: `.*AVX512`, operator: "opposite", original: `ADDQ \$0x00000010, CX`,
		reason: "SHLL takes its count modulo 32, and this one is off by 32"},
	{function: `(RMS|Layer)Norm.*AVX512`, operator: "drop", original: `KMOVW \w+, K1`,
		reason: "K1 still holds the same mask from the pass before"},
	{function: `LayerNormRowAVX2`, operator: "drop", original: `LEAQ prefix.*`,
		reason: "the register still holds the address from the pass before"},
	{function: `RMSNormGradRowAVX2`, original: `VMULPS Y5, Y2, Y5`, mutated: `VMULPS Y6, Y2, Y5`,
		reason: "Y6 still holds the tail of w from the pass before"},
	{function: `LayerNormRowAVX512`, original: `TESTQ CX, CX`, mutated: `TESTQ DI, CX`,
		reason: "DI is the length and CX its low bits"},
	{function: `LayerNormRowAVX2`, original: `VFMADD231PS Y6, Y6, Y0`, mutated: `VFMADD231PS (Y7, Y6|Y6, Y7), Y0`,
		reason: "Y7 is Y6 before the mask: the product is the same in the tail's lanes and 0 in the others"},
	{function: `ExpSubAVX2`, operator: "drop", original: `VMOVAPS X0, X3`,
		reason: "X3 holds the same numbers in the lanes that are stored"},

	// Lanes that nobody reads.
	{operator: "register 2", original: `VMOVHLPS .*`,
		reason: "the operand gives the upper half of the result, which is not read"},
	{operator: "register 2", original: `(VCVTSI2SSQ|VSQRTSS) .*`,
		reason: "the operand gives lanes 1 to 3 of the result, which are not read"},
	{function: `(RMS|Layer)Norm.*`, operator: "drop", original: `VXORPS X(\d+), X\d+, X\d+`,
		reason: "it clears lanes 1 to 3 for VCVTSI2SSQ, which are not read, and ends a dependency"},
	{function: `PackCols(6|14)AVX2`, operator: "narrow", original: `VUNPCK.*`,
		reason: "the upper half is of rows 6 and 7 of a block of 8, which the panel does not have"},

	// Packing.
	{function: `Pack.*`, operator: "widen", original: `VMOVUPS .*\), X\d+`,
		reason: "the lanes too many lie in src, and are replaced by VINSERTF128 or not stored"},
	{function: `Pack.*`, operator: "widen", original: `VMOV(U|L)PS X\d+, .*`,
		reason: "the lanes too many lie in dst, and the next store replaces them"},
	{function: `(Pack|GemmTile).*`, original: `ADDQ \$0x00000001, [AB]X`,
		reason: "the counter is not read again"},
	{function: `PackCols.*`, original: `ADDQ (\$0x\w+|SI), [AC]X`,
		reason: "the last loop runs at most once, and the pointer is not read after it"},
	{function: `PackCols.*`, operator: "immediate", original: `SUBQ \$0x00000001, BX`,
		reason: "the last loop runs at most once: the counter is negative behind it, by one or by two"},
	{function: `PackCols6AVX2`, original: `MOVQ CX, DI`,
		reason: "DI is set again before it is read"},
	{function: `PackCols.*`, operator: "drop", original: `LEAQ \(\w+\)\(DX\*4\), R8`,
		reason: "R8 holds the same address already"},

	// Values that the contract leaves open.
	{function: `Max.*`, operator: "swap", original: `VMAXPS .*`,
		reason: "the two differ for a NaN, which has a mask of its own, and in the sign of a zero, which is not promised"},
	{function: `Max.*`, operator: "register [23]", original: `VBLENDM?V?PS .*`,
		reason: "the lanes without data then hold an earlier maximum, which changes none"},
	{function: `Max.*`, operator: "register [23]", original: `VCMPPS \$0x03, .*`,
		reason: "the other register is an earlier vector or its mask, whose NaN is counted already"},
	{function: `(Max|Log).*`, operator: "constant", original: `DATA f7fc00000\+.*`, mutated: `\$0xffc00000 .*`,
		reason: "any NaN will do"},
	{function: `LayerNormRow.*`, operator: "swap", original: `VSUBPS .*`,
		reason: "(x−mean)² does not see the sign"},

	// The exponential and its cuts.
	{original: `VCMPPS \$0x1d, fc2aeac4f<>.*`, mutated: `VCMPPS \$30, .*`,
		reason: "at the cut itself, −87.3, both answers are within the bound"},
	{function: `ExpSub.*`, original: `VCMPPS \$0x16, f42b17217<>.*`,
		reason: "x ≤ m: nothing overflows, and a NaN comes through both ways"},
	{operator: "constant", original: `DATA fc2aeac4f\+.*`, mutated: `\$0xc2af5afb .*`,
		reason: "from −87.3 to −87.7 the exponential is below the smallest normal number, where the bound is an absolute one"},
	{operator: "constant", original: `DATA fc2d00000\+.*`, mutated: `\$0xc2d0d000 .*`,
		reason: "e^−104 and e^−104.4 are both 0 in float32"},
	{operator: "constant", original: `DATA f4b400000\+.*`, mutated: `\$0x4b40c000 .*`,
		reason: "adding and taking away any whole number from 2^23 to 2^24 rounds; the shift by 23 drops the difference of 49152"},
	{function: `.*AVX512`, operator: "constant", original: `DATA f4b400000\+.*`, mutated: `\$0xcb400000 .*`,
		reason: "−1.5·2^23 rounds as well, and VSCALEFPS takes the number from the difference"},
	{operator: "constant", original: `DATA f3ab84e4d\+.*`, mutated: `\$0x3ab9069b .*`,
		reason: "the coefficient of r^6, |r| ≤ 0.35: 2^-8 of it is a sixth of an ULP of the exponential, less than the bound leaves"},
	{function: `(SiLU|SwiGLU|GELU|Tanh).*AVX512`, original: `(VBROADCASTSS|DATA) f42b20000.*`,
		reason: "the next instruction loads the register again"},
	{function: `(SiLU|SwiGLU|GELU).*Grad.*AVX512`, operator: "drop", original: `VPMOVD2M .*`,
		reason: "the same mask is made twice"},
	{function: `LogAVX512`, operator: "drop", original: `VCMPPS \$0x11, Z10, Z16, K\d`,
		reason: "the same mask is made twice"},
	{function: `GELUGradAVX512`, operator: "drop", original: `VMAXPS Z4, .*`,
		reason: "x is within ±13, so that |z| ≤ 178, where VSCALEFPS underflows by itself"},
	{function: `(SiLU|SwiGLU|GELU|Tanh).*AVX512`, operator: "swap", original: `VMAXPS Z4, .*`,
		reason: "they differ for a NaN, which comes back in where x is multiplied or compared"},
	{function: `ExpAVX512`, original: `VMINPS .*|(VBROADCASTSS|DATA) f42b20000.*`,
		reason: "an upper bound is not needed: VSCALEFPS overflows to +Inf by itself, also from the NaN that x = +Inf leaves"},
	{function: `ExpSubAVX512`, original: `VMINPS .*|(VBROADCASTSS|DATA) f42b20000.*`,
		reason: "an upper bound is not needed: x ≤ m"},
	{function: `ExpSubAVX2`, operator: "constant", original: `DATA (f42b17217|f7f800000)\+.*`,
		reason: "x ≤ m: nothing overflows, and NaN plus any number is NaN"},
	{function: `LogAVX.*`, operator: "constant", original: `DATA f00800000\+.*`, mutated: `\$0x00808000 .*`,
		reason: "numbers a little above the smallest normal one may be scaled as denormals are: a power of two is exact"},
	{function: `Tanh.*`, original: `VCMPPS \$0x1d, .*`, mutated: `VCMPPS \$30, .*`,
		reason: "at 0.625 itself both ways are within the bound"},
	{function: `Tanh.*`, operator: "constant", original: `DATA f3f200000\+.*`, mutated: `\$0x3f20a000 .*`,
		reason: "both ways are within the bound from 0.625 to 0.628"},

	// Bounds that leave room. e is the error of e^−|z| relative to itself, of
	// which σ·(1−σ) ≤ ¼ and ≤ e^−|z| reaches the result.
	{function: `(SiLUGrad|Tanh|ExpSub)AVX.*`, operator: "constant", original: `DATA f35bfbe8e\+.*`, mutated: `\$0x35c07e4d .*`,
		reason: "2^-8 of the low part of ln 2 is e = 8e-9·|z|, an eighth of u·|z|"},
	{function: `(SiLUGrad|Tanh)AVX.*`, operator: "constant", original: `DATA f3c094852\+.*`, mutated: `\$0x3c09d19a .*`,
		reason: "2^-8 of the coefficient of r^5 is e ≤ 1.6e-7: the error is 0.99 of the bound of Tanh, 0.24 of that of SiLUGrad"},
	{function: `(SiLUGrad|GELU|GELUGrad|Tanh|ExpSub)AVX.*`, operator: "constant", original: `DATA f3fb8aa3b\+.*`, mutated: `\$0x3fb962e5 .*`,
		reason: "r = z − n·ln 2 is exact for any n: n is off by |z|/180, r by |z|/260, and the polynomial is as much worse as the bound, or e^−|z|, allows"},
	{function: `GELUGradAVX.*`, operator: "constant", original: `DATA f[c4]1500000\+.*`, mutated: `.*50d000 .*`,
		reason: "between 13 and 13.05 the derivative is 0 or 1 to the bound, with the clamp or without"},
	{function: `GELUAVX2`, operator: "constant", original: `DATA (f35bfbe8e|f3ab84e4d|f3c094852|f3d2aa8ae)\+.*`, mutated: `\$0x3.*`, reason: loose},
	{function: `GELUAVX2`, operator: "drop|register 2|narrow", original: `VFNMADD231PS f35bfbe8e.*|V(MOVU|FMADD213)PS (f3ab84e4d|f3c094852).*`, reason: loose},
	{function: `GELUAVX512`, operator: "constant|narrow", original: `(DATA|VBROADCASTSS) (f35bfbe8e|f3ab84e4d|f3c094852|f3d2aa8ae).*`, mutated: `(\$0x3|VBROAD).*`, reason: loose},
	{function: `GELUAVX512`, operator: "drop|register 2|narrow", original: `VFNMADD231PS Z2, .*|VMOVUPS Z5, .*|VFMADD213PS Z8, .*`, reason: loose},
	{function: `GELUGradAVX2`, original: `.*(f35bfbe8e|f3ab84e4d|f3c094852|f3d2aa8ae).*`, reason: loose},
	{function: `GELUGradAVX512`, original: `.*(f35bfbe8e|f3ab84e4d|f3c094852|f3d2aa8ae).*|VFNMADD231PS Z2, .*|VMOVUPS Z5, .*|VFMADD213PS Z10, .*`, reason: loose},
	{function: `SiLUGradAVX2`, operator: "narrow", original: `VMOVUPS f3ab84e4d.*`,
		reason: "without the term in r^6 the error is 0.95 of the bound"},
	{function: `LogAVX.*`, operator: "constant", original: `DATA (f3f3504f3|f3d9021bb)\+.*`, mutated: `\$0x3(f35b9f8|d90b1dd) .*`,
		reason: "the error grows from 0.8 ULP to 0.9 (the cut at √½) or 1.4 (the first coefficient); the bound is 2"},
}

// equivalent returns the reason why m cannot be caught, or "".
func equivalent(m *mutant) string {
	for _, e := range equivalences {
		if matches(e.function, m.Func) && matches(e.operator, m.Operator) && matches(e.before, m.before) && matches(e.original, m.Original) && matches(e.mutated, m.Mutated) {
			return e.reason
		}
	}
	return ""
}

func matches(pattern, s string) bool {
	return pattern == "" || regexp.MustCompile("^(?:"+pattern+")$").MatchString(s)
}
