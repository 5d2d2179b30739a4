# SPDX-License-Identifier: GPL-2.0-or-later
# VESA modes: banked 640x480x256 through A0000h, linear frame buffers of 8, 16 and 32 bits from unreal mode, a display start
# further down, an own palette.
	.include "pc.inc"

	.macro	info mode
	mov	di, 0x3000
	mov	ax, 0x4f01
	mov	cx, \mode
	int	0x10
	check16	"mode-info-\mode", 0x004f
	mov	ebp, [0x3000 + 40]
	movzx	eax, word ptr [0x3000 + 16]
	mov	[pitch], eax
	.endm
	.macro	set mode
	mov	ax, 0x4f02
	mov	bx, \mode
	int	0x10
	check16	"set-\mode", 0x004f
	.endm

main:
	mov	byte ptr [con_screen], 0
	in	al, 0x92
	or	al, 2
	and	al, 0xfe
	out	0x92, al
	cli
	lgdt	[gdtr]
	mov	eax, cr0
	or	al, 1
	mov	cr0, eax
	jmp	1f
1:	mov	bx, 8
	mov	fs, bx
	and	al, 0xfe
	mov	cr0, eax
	jmp	1f
1:	xor	ax, ax
	mov	fs, ax
	sti
	# Banked: bank after bank of 64 KiB.
	info	0x101
	set	0x101
	mov	ax, 0xa000
	mov	es, ax
	xor	bp, bp
1:	mov	ax, 0x4f05
	xor	bx, bx
	mov	dx, bp
	int	0x10
	xor	di, di
2:	mov	ax, di
	shr	ax, 8
	add	ax, bp
	xor	ax, di
	and	al, 0x3f
	stosb
	test	di, di
	jnz	2b
	inc	bp
	cmp	bp, 5
	jb	1b
	screen	"vbe101bank"
	# The same mode with a linear frame buffer, own palette.
	xor	ax, ax
	mov	es, ax
	info	0x101
	set	0x4101
	mov	dx, 0x3c8
	mov	al, 32
	out	dx, al
	inc	dx
	mov	si, offset palette
	mov	cx, 12
	rep	outsb
	mov	edi, ebp
	xor	edx, edx
1:	xor	ecx, ecx
2:	mov	eax, ecx
	shr	eax, 5
	mov	ebx, edx
	shr	ebx, 5
	xor	eax, ebx
	and	eax, 3
	add	eax, 32
	mov	fs:[edi + ecx], al
	inc	ecx
	cmp	ecx, 640
	jb	2b
	add	edi, [pitch]
	inc	edx
	cmp	edx, 480
	jb	1b
	mov	al, fs:[ebp + 40]
	check8	"lfb-reads-back", 33
	screen	"vbe101lfb"
	# 16 bits, 640x480.
	info	0x111
	set	0x4111
	mov	edi, ebp
	xor	edx, edx
1:	xor	ecx, ecx
2:	mov	eax, ecx
	shr	eax, 4
	and	eax, 31
	mov	ebx, edx
	shr	ebx, 3
	and	ebx, 62
	shl	ebx, 5
	or	eax, ebx
	test	dl, 64
	jz	3f
	or	eax, 0xf800
3:	mov	fs:[edi + ecx * 2], ax
	inc	ecx
	cmp	ecx, 640
	jb	2b
	add	edi, [pitch]
	inc	edx
	cmp	edx, 480
	jb	1b
	screen	"vbe111x16"
	# 24 or 32 bits, 640x480, by rows of one colour; then the start moved down by 16 lines.
	info	0x112
	movzx	eax, byte ptr [0x3000 + 25]
	shr	eax, 3
	mov	[bytes], eax
	set	0x4112
	mov	edi, ebp
	xor	edx, edx
1:	xor	ecx, ecx
	mov	esi, edi
2:	mov	eax, edx
	shr	eax, 4
	imul	eax, eax, 0x070b13
	mov	ebx, ecx
	shr	ebx, 5
	xor	eax, ebx
	mov	fs:[esi], ax
	mov	ebx, eax
	shr	ebx, 16
	mov	fs:[esi + 2], bl
	add	esi, [bytes]
	inc	ecx
	cmp	ecx, 640
	jb	2b
	add	edi, [pitch]
	inc	edx
	cmp	edx, 500
	jb	1b
	screen	"vbe112"
	mov	ax, 0x4f07
	xor	bx, bx
	xor	cx, cx
	mov	dx, 16
	int	0x10
	check16	"display-start", 0x004f
	screen	"vbe112start"
	mov	ax, 3
	int	0x10
	mov	byte ptr [con_screen], 1
	jmp	finish

	.balign	8
gdt:	.quad	0
	.quad	0x00cf92000000ffff
gdtr:	.word	15
	.long	gdt
pitch:	.long	0
bytes:	.long	0
palette:
	.byte	63, 0, 0, 0, 63, 0, 0, 0, 63, 63, 63, 63
	PROGRAM_END
