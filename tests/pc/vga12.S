# SPDX-License-Identifier: GPL-2.0-or-later
# Planar VGA: mode 12h with write modes 0 to 3, both read modes, set/reset, logical functions, rotation, bit mask, latch
# copies, the map mask; palettes of the attribute controller and the DAC; the EGA modes 0Dh and 10h; page flips, panning,
# a split screen and line compare; int 10h drawing in graphics modes.
	.include "pc.inc"
	.set	SEQ, 0x3c4
	.set	GC, 0x3ce

	.macro	gc index, value
	mov	dx, GC
	mov	ax, (\value) << 8 | (\index)
	out	dx, ax
	.endm
	.macro	seq index, value
	mov	dx, SEQ
	mov	ax, (\value) << 8 | (\index)
	out	dx, ax
	.endm
	.macro	crtc index, value
	mov	dx, 0x3d4
	mov	ax, ((\value) & 255) << 8 | (\index)
	out	dx, ax
	.endm

main:
	mov	byte ptr [con_screen], 0
	mov	ax, 0x12
	int	0x10
	mov	ah, 0x0f
	int	0x10
	check16	"mode-12h-set", 0x5012
	mov	ax, 0xa000
	mov	es, ax
	# Read back of registers.
	mov	dx, GC
	mov	al, 8
	out	dx, al
	inc	dx
	mov	al, 0x5a
	out	dx, al
	in	al, dx
	check8	"bit-mask-reads-back", 0x5a
	mov	al, 0xff
	out	dx, al

	# Write mode 0 with the map mask: 16 vertical bars of colour, rows 0 to 79, 4 bytes each.
	mov	cx, 16
	xor	di, di
1:	mov	bx, 16
	sub	bx, cx			# the colour
	mov	ah, bl
	mov	al, 2
	mov	dx, SEQ
	out	dx, ax
	push	cx
	push	di
	mov	cx, 80
2:	mov	dword ptr es:[di], 0xffffffff
	add	di, 80
	loop	2b
	pop	di
	pop	cx
	add	di, 4
	loop	1b
	# Map mask again, but over the bars: only planes 0 and 2 of rows 20 to 29 become 0.
	seq	2, 5
	mov	di, 20 * 80
	mov	cx, 800 / 2
	xor	ax, ax
	rep	stosw
	seq	2, 15

	# Set/reset with enable: colour 9, data ignored; rows 90 to 99. With only planes 0 and 1 enabled: rows 100 to 109.
	gc	0, 9
	gc	1, 15
	mov	di, 90 * 80
	mov	cx, 800
	mov	al, 0x55
	rep	stosb
	gc	0, 2
	gc	1, 3
	mov	cx, 800
	mov	al, 0x3c
	rep	stosb
	gc	1, 0

	# Rotation and the logical functions: and, or, xor over a pattern; rows 120 to 159.
	seq	2, 15
	gc	3, 0
	mov	di, 120 * 80
	mov	cx, 40 * 80
	mov	al, 0xf0
	rep	stosb
	xor	bx, bx
1:	mov	ah, bl
	shl	ah, 3			# function, rotate by 3
	or	ah, 3
	mov	al, 3
	mov	dx, GC
	out	dx, ax
	mov	ax, bx
	mov	cx, 10 * 80
	mul	cx
	add	ax, 120 * 80 + 10
	mov	di, ax
	mov	cx, 40
2:	mov	al, es:[di]		# fills the latches
	mov	byte ptr es:[di], 0xcc
	inc	di
	loop	2b
	inc	bx
	cmp	bx, 4
	jb	1b
	gc	3, 0

	# Bit mask: single pixels of a diagonal and a dotted line through write mode 2.
	gc	5, 2
	mov	cx, 0
1:	mov	bx, cx
	add	bx, 100			# x
	mov	ax, cx
	shr	ax, 1
	add	ax, 170			# y
	mov	si, cx
	and	si, 15			# colour
	call	pixel
	inc	cx
	cmp	cx, 300
	jb	1b
	# Write mode 2 over whole bytes: the low four bits are the colour.
	gc	8, 0xff
	mov	di, 330 * 80
	mov	cx, 80 * 8
1:	mov	ax, cx
	and	al, 15
	stosb
	loop	1b
	# Write mode 3: the data and the bit mask select, set/reset is the colour: text-like stamps.
	gc	0, 14
	gc	8, 0x7e
	gc	5, 3
	mov	di, 350 * 80
	mov	cx, 80 * 8
	mov	bl, 1
1:	mov	al, es:[di]
	mov	es:[di], bl
	rol	bl, 1
	jnc	2f
	xor	bl, 0x3c
2:	inc	di
	loop	1b
	gc	8, 0xff
	# Write mode 1: copies of the latches; 40 rows of the top to row 380, with rep movsb.
	gc	5, 1
	mov	ax, 0xa000
	mov	ds, ax
	mov	si, 10 * 80
	mov	di, 380 * 80
	mov	cx, 40 * 80
	rep	movsb
	# The same backwards and overlapping, as scrolling does.
	std
	mov	si, 419 * 80 + 79
	mov	di, 429 * 80 + 79
	mov	cx, 20 * 80
	rep	movsb
	cld
	xor	ax, ax
	mov	ds, ax
	gc	5, 0
	# Read mode 0: planes one by one. Column 9 of row 5 (colour 2) ...
	gc	4, 1
	mov	al, es:[5 * 80 + 9]
	check8	"plane-1-of-colour-2", 0xff
	gc	4, 0
	mov	al, es:[5 * 80 + 9]
	check8	"plane-0-of-colour-2", 0
	# Read mode 1: colour compare, with a don't-care plane.
	gc	5, 8
	gc	2, 2
	gc	7, 15
	mov	al, es:[5 * 80 + 9]
	check8	"colour-compare-hit", 0xff
	gc	2, 3
	mov	al, es:[5 * 80 + 9]
	check8	"colour-compare-miss", 0
	gc	7, 14
	mov	al, es:[5 * 80 + 9]
	check8	"colour-compare-dont-care", 0xff
	gc	5, 0
	# The BIOS draws text and a pixel in this mode, and reads the pixel.
	mov	ah, 2
	xor	bx, bx
	mov	dx, 0x1c0a
	int	0x10
	mov	si, offset text_hello
1:	lodsb
	test	al, al
	jz	2f
	mov	ah, 0x0e
	mov	bx, 0x000b
	int	0x10
	jmp	1b
2:	mov	ax, 0x0c0d
	xor	bx, bx
	mov	cx, 600
	mov	dx, 470
	int	0x10
	mov	ah, 0x0d
	int	0x10
	check8	"int-10h-pixel", 13
	screen	"vga12"

	# Palettes: attribute controller 6 becomes 20 (not brown), DAC entries change, a block of them through int 10h.
	mov	ax, 0x1000
	mov	bx, 0x3801
	int	0x10
	mov	ax, 0x1010
	mov	bx, 2
	mov	dh, 0x3f
	mov	ch, 0x20
	mov	cl, 0x10
	int	0x10
	mov	dx, 0x3c8
	mov	al, 4
	out	dx, al
	inc	dx
	mov	al, 10
	out	dx, al
	mov	al, 50
	out	dx, al
	mov	al, 60
	out	dx, al
	mov	dx, 0x3c7
	mov	al, 4
	out	dx, al
	mov	dx, 0x3c9
	in	al, dx
	mov	bl, al
	in	al, dx
	mov	bh, al
	in	al, dx
	check8	"dac-blue-reads-back", 60
	mov	ax, bx
	check16	"dac-red-green-read-back", 50 << 8 | 10
	# Overscan does not show; the border register is written as games do.
	mov	ax, 0x1001
	mov	bh, 3
	int	0x10
	screen	"vga12pal"

	# Mode 10h (640x350): start address, split screen by line compare at 200, panning by 3 pixels in the upper part.
	mov	ax, 0x10
	int	0x10
	mov	ax, 0xa000
	mov	es, ax
	gc	5, 2
	xor	di, di
	mov	cx, 80 * 350
1:	mov	ax, di
	shr	ax, 5
	xor	ax, di
	stosb
	loop	1b
	gc	5, 0
	crtc	0x0c, 0x10
	crtc	0x0d, 0x25
	crtc	0x18, 200
	mov	dx, 0x3d4
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
	screen	"vga10split"

	# Mode 0Dh (320x200, 16 colours), two pages, the second shown.
	mov	ax, 0x0d
	int	0x10
	mov	ax, 0xa000
	mov	es, ax
	gc	5, 2
	mov	di, 0x2000
	mov	cx, 40 * 200
1:	mov	ax, cx
	shr	ax, 3
	stosb
	loop	1b
	gc	5, 0
	mov	ax, 0x0501
	int	0x10
	mov	ax, [0x44e]
	check16	"page-1-offset", 0x2000
	screen	"vga0d"
	mov	ax, 3
	int	0x10
	mov	byte ptr [con_screen], 1
	jmp	finish

# Write mode 2 pixel: bx = x, ax = y, si = colour. Changes ax, bx, dx, di.
pixel:
	push	cx
	mov	dx, 80
	mul	dx
	mov	di, ax
	mov	cx, bx
	shr	bx, 3
	add	di, bx
	and	cl, 7
	mov	ah, 0x80
	shr	ah, cl
	mov	al, 8
	mov	dx, GC
	out	dx, ax
	mov	al, es:[di]
	mov	ax, si
	mov	es:[di], al
	pop	cx
	ret
text_hello:
	.asciz	"Planar text 0123"
	PROGRAM_END
