# SPDX-License-Identifier: GPL-2.0-or-later
# 256 colours: mode 13h (chain 4), mode X (320x240 unchained, with latch copies and page flips), split screen and double
# scan, the DAC's mask and palette cycling, the CGA modes 4 and 6.
	.include "pc.inc"
	.set	SEQ, 0x3c4
	.set	GC, 0x3ce
	.set	CRTC, 0x3d4
	.macro	outw port, index, value
	mov	dx, \port
	mov	ax, ((\value) & 255) << 8 | (\index)
	out	dx, ax
	.endm

main:
	mov	byte ptr [con_screen], 0
	mov	ax, 0x13
	int	0x10
	mov	ax, 0xa000
	mov	es, ax
	# All colours of the BIOS's palette in 16x16 boxes, then a rule and a gradient.
	xor	di, di
	xor	dx, dx			# y
1:	xor	cx, cx			# x
2:	mov	ax, dx
	cmp	ax, 160
	jae	3f
	mov	bl, 10
	div	bl
	shl	al, 4
	mov	bl, al
	mov	ax, cx
	push	dx
	xor	dx, dx
	mov	si, 20
	div	si
	pop	dx
	add	al, bl
	jmp	4f
3:	mov	ax, cx
	xor	ax, dx
4:	stosb
	inc	cx
	cmp	cx, 320
	jb	2b
	inc	dx
	cmp	dx, 200
	jb	1b
	screen	"vga13"
	# Own palette: a ramp through all 256 by rep outsb-like writing, then the DAC mask hides bits.
	mov	dx, 0x3c8
	xor	al, al
	out	dx, al
	inc	dx
	xor	cx, cx
1:	mov	al, cl
	shr	al, 2
	out	dx, al
	mov	al, cl
	xor	al, 0xff
	shr	al, 2
	out	dx, al
	mov	al, cl
	and	al, 63
	out	dx, al
	inc	cx
	cmp	cx, 256
	jb	1b
	screen	"vga13pal"
	mov	dx, 0x3c6
	mov	al, 0xf0
	out	dx, al
	screen	"vga13mask"
	mov	al, 0xff
	mov	dx, 0x3c6
	out	dx, al
	# Palette by rep outsb.
	mov	dx, 0x3c8
	mov	al, 16
	out	dx, al
	inc	dx
	mov	si, offset rainbow
	mov	cx, 24
	rep	outsb
	mov	dx, 0x3c7
	mov	al, 16
	out	dx, al
	mov	dx, 0x3c9
	push	es
	push	ds
	pop	es
	mov	di, SCRATCH
	mov	cx, 24
	rep	insb
	pop	es
	mov	eax, [SCRATCH]
	mov	edx, [rainbow]
	check_same "palette-through-insb"
	mov	eax, [SCRATCH + 20]
	mov	edx, [rainbow + 20]
	check_same "palette-through-insb-end"
	# Writes of words and dwords that cross the window's end stay inside: A000:FFFF.
	mov	byte ptr es:[0xfffe], 0x77
	mov	word ptr es:[0xfffc], 0x1234
	mov	eax, es:[0xfffc]
	and	eax, 0xffffff
	check	"last-bytes-of-window", 0x771234

	# Mode X: unchained, 320x240, byte mode.
	call	modex
	mov	ax, 0xa000
	mov	es, ax
	outw	SEQ, 2, 15
	xor	di, di
	mov	cx, 0x8000
	xor	ax, ax
	rep	stosw
	# Plane by plane: each plane its own picture, shown together.
	mov	si, 0
1:	mov	cx, si
	mov	ah, 1
	shl	ah, cl
	mov	al, 2
	mov	dx, SEQ
	out	dx, ax
	xor	di, di
	xor	dx, dx			# y
2:	xor	cx, cx			# x / 4
3:	mov	ax, cx
	shl	ax, 2
	add	ax, si
	xor	ax, dx
	stosb
	inc	cx
	cmp	cx, 80
	jb	3b
	inc	dx
	cmp	dx, 240
	jb	2b
	inc	si
	cmp	si, 4
	jb	1b
	# Latch copies: a block of 16x32 bytes (64 pixels wide) to the second page, tiled.
	outw	SEQ, 2, 15
	outw	GC, 5, 0x41		# write mode 1, 256 colours
	push	ds
	push	es
	pop	ds
	mov	di, 80 * 240
	mov	dx, 240
4:	mov	cx, 5			# 5 times 16 bytes
5:	push	cx
	mov	ax, 240
	sub	ax, dx
	and	ax, 31
	add	ax, 100
	mov	bx, 80
	push	dx
	mul	bx
	pop	dx
	add	ax, 20
	mov	si, ax
	mov	cx, 16
	rep	movsb
	pop	cx
	loop	5b
	dec	dx
	jnz	4b
	pop	ds
	outw	GC, 5, 0x40
	screen	"modex"
	# Flip to the second page, 80 * 240 bytes on.
	outw	CRTC, 0x0c, (80 * 240) >> 8
	outw	CRTC, 0x0d, (80 * 240)
	screen	"modexflip"
	# A status bar: from line 400 of 480 (line compare) memory from 0 is shown.
	outw	CRTC, 0x18, 399 & 255
	mov	dx, CRTC
	mov	al, 7
	out	dx, al
	inc	dx
	in	al, dx
	or	al, 0x10		# bit 8
	out	dx, al
	dec	dx
	mov	al, 9
	out	dx, al
	inc	dx
	in	al, dx
	and	al, 0xbf		# bit 9
	out	dx, al
	screen	"modexsplit"
	# Reads in unchained mode take the plane of GC4.
	mov	bl, 0
1:	mov	ah, bl
	mov	al, 4
	mov	dx, GC
	out	dx, ax
	mov	al, es:[0x28]
	xor	al, 0xa0
	cmp	al, bl
	jne	2f
	inc	bl
	cmp	bl, 4
	jb	1b
2:	mov	al, bl
	check8	"unchained-planes-read", 4

	# CGA: mode 4 (two banks, 4 colours, both palettes) and mode 6.
	mov	ax, 4
	int	0x10
	mov	ax, 0xb800
	mov	es, ax
	xor	di, di
	mov	cx, 8000
1:	mov	ax, cx
	shr	ax, 4
	stosb
	loop	1b
	mov	di, 0x2000
	mov	cx, 8000
	mov	al, 0x1b
	rep	stosb
	mov	ah, 0x0b
	mov	bx, 0x0100
	int	0x10
	screen	"cga4"
	mov	ah, 0x0b
	mov	bx, 0x0101
	int	0x10
	mov	ah, 0x0b
	mov	bx, 0x0001		# background blue
	int	0x10
	screen	"cga4pal"
	mov	ax, 6
	int	0x10
	xor	di, di
	mov	cx, 4000
1:	mov	ax, cx
	mov	bx, 0x1357
	mul	bx
	stosw
	loop	1b
	screen	"cga6"
	mov	ax, 3
	int	0x10
	mov	byte ptr [con_screen], 1
	jmp	finish

modex:
	mov	ax, 0x13
	int	0x10
	outw	SEQ, 4, 6		# no chain 4
	outw	SEQ, 0, 1
	mov	dx, 0x3c2
	mov	al, 0xe3		# 480 lines
	out	dx, al
	outw	SEQ, 0, 3
	mov	dx, CRTC		# unlock 0 to 7
	mov	al, 0x11
	out	dx, al
	inc	dx
	in	al, dx
	and	al, 0x7f
	out	dx, al
	mov	dx, CRTC
	mov	si, offset modex_crtc
	mov	cx, 10
1:	lodsw
	out	dx, ax
	loop	1b
	ret
	.balign	2
modex_crtc:
	.word	0x0d06, 0x3e07, 0x4109, 0xea10, 0xac11, 0xdf12, 0x0014, 0xe715, 0x0616, 0xe317
rainbow:
	.byte	63, 0, 0, 63, 31, 0, 63, 63, 0, 0, 63, 0, 0, 63, 63, 0, 0, 63, 31, 0, 63, 63, 0, 63
	PROGRAM_END
