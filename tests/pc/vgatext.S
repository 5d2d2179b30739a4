# SPDX-License-Identifier: GPL-2.0-or-later
# Text screens: own characters, 8- and 9-dot cells, 50 lines, palette, blinking switched off, two fonts at once, cursor
# shapes, start address and split screen, pages, int 10h's windows that scroll, 40 columns, monochrome.
	.include "pc.inc"
	.set	CRTC, 0x3d4
	.macro	crtc index, value
	mov	dx, CRTC
	mov	ax, ((\value) & 255) << 8 | (\index)
	out	dx, ax
	.endm
	.macro	hide_cursor
	mov	ah, 1
	mov	cx, 0x2000
	int	0x10
	.endm

main:
	mov	byte ptr [con_screen], 0
	mov	ax, 3
	int	0x10
	hide_cursor
	mov	ax, 0xb800
	mov	es, ax
	# All characters with all attributes (blink off, so that bright backgrounds show).
	mov	ax, 0x1003
	xor	bx, bx
	int	0x10
	call	fill
	screen	"text80"
	# int 10h scrolls windows, up and down, and clears one.
	mov	ax, 0x0603
	mov	bh, 0x1e
	mov	cx, 0x0205
	mov	dx, 0x0a28
	int	0x10
	mov	ax, 0x0702
	mov	bh, 0x4f
	mov	cx, 0x0c10
	mov	dx, 0x1440
	int	0x10
	mov	ax, 0x0600
	mov	bh, 0x70
	mov	cx, 0x1600
	mov	dx, 0x174f
	int	0x10
	mov	ah, 2
	xor	bx, bx
	mov	dx, 0x1602
	int	0x10
	mov	ax, 0x0941		# 20 times "A"
	mov	bx, 0x005e
	mov	cx, 20
	int	0x10
	mov	ah, 8
	mov	bh, 0
	int	0x10
	check16	"int-10h-reads-cell", 0x5e41
	push	es
	push	ds
	pop	es
	mov	ax, 0x1301		# a string with bell-less control characters
	mov	bx, 0x0017
	mov	cx, offset hello_end - hello
	mov	dx, 0x1740
	mov	bp, offset hello
	int	0x10
	pop	es
	mov	ah, 3
	mov	bh, 0
	int	0x10
	mov	ax, dx
	check16	"cursor-after-string", 0x1803
	screen	"textscroll"
	# The teletype scrolls at the end of the last line.
	mov	ah, 2
	xor	bx, bx
	mov	dx, 0x184e
	int	0x10
	mov	ax, 0x0e58
	mov	cx, 3
1:	push	cx
	mov	ax, 0x0e58
	mov	bx, 7
	int	0x10
	pop	cx
	loop	1b
	mov	ah, 3
	mov	bh, 0
	int	0x10
	mov	ax, dx
	check16	"teletype-wraps", 0x1801
	# Own characters through int 10h/1100h, and one byte of the font written directly through plane 2.
	push	es
	push	ds
	pop	es
	mov	ax, 0x1100
	mov	bx, 0x1000
	mov	cx, 2
	mov	dx, 0x41		# "A" and "B"
	mov	bp, offset glyphs
	int	0x10
	pop	es
	mov	ax, es:[0]
	mov	[cell_before], ax
	mov	dx, 0x3c4		# plane 2 at A0000h, linear
	mov	ax, 0x0402
	out	dx, ax
	mov	ax, 0x0704
	out	dx, ax
	mov	dl, 0xce
	mov	ax, 0x0204
	out	dx, ax
	mov	ax, 0x0005
	out	dx, ax
	mov	ax, 0x0406
	out	dx, ax
	push	es
	mov	ax, 0xa000
	mov	es, ax
	mov	di, 0x58 * 32		# "X"
	mov	cx, 16
	mov	al, 0x55
1:	stosb
	xor	al, 0xff
	loop	1b
	mov	al, es:[0x41 * 32 + 3]
	mov	cl, al
	pop	es
	mov	dl, 0xc4
	mov	ax, 0x0302
	out	dx, ax
	mov	ax, 0x0304
	out	dx, ax
	mov	dl, 0xce
	mov	ax, 0x0004
	out	dx, ax
	mov	ax, 0x1005
	out	dx, ax
	mov	ax, 0x0e06
	out	dx, ax
	mov	al, cl
	check8	"font-reads-back", 0x3c
	mov	ax, es:[0]
	xor	ax, [cell_before]
	check16	"text-is-still-there", 0
	screen	"textfont"
	# Split screen: from line 200 memory from 0; above it page 1 with an own start address.
	mov	di, 0x1000
	mov	cx, 2000
	mov	ax, 0x1f30
1:	stosw
	call	next_char
	loop	1b
	crtc	0x0c, 0x08
	crtc	0x0d, 0x05
	crtc	0x18, 207
	mov	dx, CRTC
	mov	al, 7
	out	dx, al
	inc	dx
	in	al, dx
	and	al, 0xef
	out	dx, al
	dec	dx
	mov	al, 9
	out	dx, al
	inc	dx
	in	al, dx
	and	al, 0xbf
	out	dx, al
	screen	"textsplit"
	# Pages by int 10h/05h; the BIOS knows the page's offset.
	mov	ax, 3
	int	0x10
	hide_cursor
	mov	ax, 0x0502
	int	0x10
	mov	ax, [0x44e]
	check16	"page-2-offset", 0x2000
	mov	ax, 0xb800
	mov	es, ax
	mov	di, 0x2000
	mov	cx, 2000
	mov	ax, 0x2e7e
	rep	stosw
	screen	"textpage"
	# 50 lines of the 8x8 font, 8-dot cells.
	mov	ax, 3
	int	0x10
	mov	ax, 0x1112
	xor	bx, bx
	int	0x10
	hide_cursor
	mov	al, [0x484]
	check8	"50-lines", 49
	mov	dx, 0x3c4
	mov	al, 1
	out	dx, al
	inc	dx
	in	al, dx
	or	al, 1
	out	dx, al
	mov	ax, 0x1003
	xor	bx, bx
	int	0x10
	call	fill
	mov	di, 4000
	mov	cx, 2000
	mov	ax, 0x5a00
1:	stosw
	inc	al
	loop	1b
	screen	"text50"
	# Two fonts: character map A is the 8x16 one, B a block font at 1; bit 3 of the attribute chooses.
	mov	ax, 3
	int	0x10
	mov	ax, 0x1114
	mov	bx, 1
	int	0x10
	mov	ax, 0x1103
	mov	bx, 0x01		# SR3 = 1: bit 3 clear takes block 1
	int	0x10
	hide_cursor
	push	es
	push	ds
	pop	es
	mov	ax, 0x1100
	mov	bx, 0x1001
	mov	cx, 2
	mov	dx, 0x41
	mov	bp, offset glyphs
	int	0x10
	pop	es
	xor	di, di
	mov	cx, 1000
1:	mov	ax, 0x0741
	stosw
	mov	ax, 0x0f42
	stosw
	loop	1b
	screen	"textfonts"
	# The palette and an underline cursor in the middle of a cell.
	mov	ax, 3
	int	0x10
	mov	dx, 0x3da
	in	al, dx
	mov	dx, 0x3c0
	mov	al, 7			# attribute 7 becomes 38h, then video on
	out	dx, al
	mov	al, 0x39
	out	dx, al
	mov	al, 0x20
	out	dx, al
	mov	dx, 0x3c1
	mov	dx, 0x3da
	in	al, dx
	mov	dx, 0x3c0
	mov	al, 0x27
	out	dx, al
	mov	dx, 0x3c1
	in	al, dx
	check8	"attribute-reads-back", 0x39
	mov	dx, 0x3da
	in	al, dx
	hide_cursor
	xor	di, di
	mov	cx, 400
	mov	ax, 0x0741
1:	stosw
	call	next_char
	loop	1b
	screen	"textpalette"
	# 40 columns, with 8 dots a character: QEMU has no 18 dots.
	mov	ax, 1
	int	0x10
	hide_cursor
	mov	dx, 0x3c4
	mov	al, 1
	out	dx, al
	inc	dx
	in	al, dx
	or	al, 1
	out	dx, al
	mov	ax, [0x44a]
	check16	"40-columns", 40
	xor	di, di
	mov	cx, 1000
	mov	ax, 0x1b00
1:	stosw
	inc	ax
	loop	1b
	screen	"text40"
	# Monochrome at B0000h, CRTC at 3B4h.
	mov	ax, 7
	int	0x10
	mov	ax, [0x463]
	check16	"mode-7-crtc", 0x3b4
	mov	dx, 0x3b4
	mov	ax, 0x200a
	out	dx, ax
	mov	ax, 0xb000
	mov	es, ax
	xor	di, di
	mov	cx, 2000
	xor	ax, ax
1:	mov	ah, cl
	stosw
	inc	al
	loop	1b
	mov	ax, es:[2]
	check16	"mode-7-memory", 0xcf01
	mov	ax, 3
	int	0x10
	# Retrace bits move: a program that waits for it goes on.
	mov	dx, 0x3da
	mov	cx, 3
1:	in	al, dx
	test	al, 8
	jnz	1b
2:	in	al, dx
	test	al, 8
	jz	2b
	loop	1b
	mov	eax, 1
	check	"vertical-retrace", 1
	# The adapter says what it is.
	mov	ax, 0x1a00
	xor	bx, bx
	int	0x10
	check8	"vga-dcc", 0x1a
	mov	al, bl
	check8	"vga-colour-display", 8
	mov	ah, 0x12
	mov	bl, 0x10
	int	0x10
	mov	al, bl
	check8	"ega-memory", 3
	mov	byte ptr [con_screen], 1
	jmp	finish

# The next character; B0h to BFh are left out: QEMU draws their 9th dot like that of the box characters (C0h to DFh).
next_char:
	inc	al
	cmp	al, 0xb0
	jne	1f
	mov	al, 0xc0
1:	ret

fill:	xor	di, di
	mov	cx, 2000
	mov	ax, 0x0f00
1:	stosw
	call	next_char
	mov	bx, cx
	shr	bx, 3
	mov	ah, bl
	or	ah, 1
	cmp	ah, 0x41
	loop	1b
	mov	word ptr es:[0], 0x0f00
	ret
	.balign	2
cell_before:
	.word	0
hello:	.ascii	"Hello, screen\r\nto you"
	.byte	13, 10
	.ascii	"abc"
hello_end:
glyphs:	.byte	0xff, 0x81, 0xbd, 0x3c, 0xa5, 0xbd, 0x81, 0xff, 0, 0x18, 0x24, 0x42, 0x42, 0x24, 0x18, 0
	.byte	1, 2, 4, 8, 16, 32, 64, 128, 64, 32, 16, 8, 4, 2, 1, 0
	PROGRAM_END
