# SPDX-License-Identifier: GPL-2.0-or-later
# Disks by hand and by the BIOS: IDENTIFY and sectors by PIO from the primary channel, CHS and LBA, a CD's sectors by ATAPI
# packets from the secondary one; int 13h with CHS, extensions and parameters; a sector written and read back.
# Each sector begins with its number (disks.py).
	.include "pc.inc"

main:
	mov	ax, 0x1000
	mov	es, ax
	mov	dx, 0x3f6
	mov	al, 2			# no interrupts
	out	dx, al
	mov	dx, 0x1f6
	mov	al, 0xa0
	out	dx, al
	call	not_busy
	mov	dx, 0x1f7
	mov	al, 0xec
	out	dx, al
	call	pio_in
	mov	ax, es:[1 * 2]
	check16	"identify-cylinders", 20
	mov	ax, es:[3 * 2]
	check16	"identify-heads", 16
	mov	ax, es:[6 * 2]
	check16	"identify-sectors", 63
	mov	eax, es:[60 * 2]
	check	"identify-lba-sectors", 20160
	# LBA 12345 and the same by CHS: 12345 = (12 * 16 + 3) * 63 + 60 + ...
	mov	ebx, 12345
	call	set_lba
	mov	dx, 0x1f7
	mov	al, 0x20
	out	dx, al
	call	pio_in
	mov	eax, es:[0]
	check	"pio-lba", 12345
	mov	al, es:[5]
	check8	"pio-lba-data", ((12345*7+5)&255)
	# cylinder 12, head 3, sector 61: (12*16+3)*63 + 60 = 12345
	mov	dx, 0x1f2
	mov	al, 1
	out	dx, al
	inc	dx
	mov	al, 61
	out	dx, al
	inc	dx
	mov	al, 12
	out	dx, al
	inc	dx
	mov	al, 0
	out	dx, al
	inc	dx
	mov	al, 0xa3
	out	dx, al
	inc	dx
	mov	al, 0x20
	out	dx, al
	call	pio_in
	mov	eax, es:[0]
	check	"pio-chs", 12345
	# Write a sector, flush, read it back.
	mov	ebx, 7
	call	set_lba
	mov	dx, 0x1f7
	mov	al, 0x30
	out	dx, al
	call	data_ready
	mov	cx, 256
	mov	dx, 0x1f0
	mov	si, 0x7e00
	rep	outsw
	call	not_busy
	mov	dx, 0x1f7
	mov	al, 0xe7
	out	dx, al
	call	not_busy
	call	set_lba
	mov	dx, 0x1f7
	mov	al, 0x20
	out	dx, al
	call	pio_in
	mov	eax, es:[8]
	mov	edx, [0x7e08]
	check_same "pio-written"
	# Beyond the end: error, IDNF.
	mov	ebx, 20160
	call	set_lba
	mov	dx, 0x1f7
	mov	al, 0x20
	out	dx, al
	call	not_busy
	and	al, 1
	check8	"pio-beyond-the-end", 1
	mov	dx, 0x3f6
	mov	al, 0
	out	dx, al
	# ATAPI: the signature, then READ(10) of two sectors from 300.
	mov	dx, 0x376
	mov	al, 2
	out	dx, al
	mov	dx, 0x176
	mov	al, 0xa0
	out	dx, al
	call	not_busy2
	mov	dx, 0x177
	mov	al, 0xec		# IDENTIFY DEVICE is refused, and shows the signature
	out	dx, al
	call	not_busy2
	and	al, 1
	check8	"atapi-refuses-ec", 1
	mov	dx, 0x174
	in	al, dx
	mov	bl, al
	inc	dx
	in	al, dx
	mov	ah, al
	mov	al, bl
	check16	"atapi-signature", 0xeb14
	mov	si, offset test_ready	# unit attention after start is fetched first
	call	packet
	call	not_busy2
	mov	si, offset request_sense
	call	packet
	call	drain
	mov	si, offset read10
	call	packet
	xor	di, di
	call	drain
	mov	eax, es:[0]
	check	"atapi-sector-300", 300
	mov	eax, es:[2048]
	check	"atapi-sector-301", 301
	mov	dx, 0x376
	mov	al, 0
	out	dx, al
	# The BIOS: parameters, CHS, extensions, the CD's 2048-byte sectors.
	push	es
	mov	ah, 8
	mov	dl, 0x80
	int	0x13
	pop	es
	mov	al, dl
	check8	"int-13h-disks", 1
	mov	ax, 0x0201
	xor	bx, bx
	mov	cx, 12 << 8 | 61
	mov	dx, 0x0380
	int	0x13
	mov	eax, es:[0]
	check	"int-13h-chs", 12345
	mov	ah, 0x41
	mov	bx, 0x55aa
	mov	dl, 0x80
	int	0x13
	mov	ax, bx
	check16	"int-13h-extensions", 0xaa55
	mov	si, offset dap
	mov	ah, 0x42
	mov	dl, 0x80
	int	0x13
	check_carry "int-13h-42", 0
	mov	eax, es:[0]
	check	"int-13h-42-data", 20000
	mov	eax, es:[512]
	check	"int-13h-42-next", 20001
	jmp	finish

not_busy:
	mov	dx, 0x1f7
1:	in	al, dx
	test	al, 0x80
	jnz	1b
	ret
not_busy2:
	mov	dx, 0x177
1:	in	al, dx
	test	al, 0x80
	jnz	1b
	ret
data_ready:
	call	not_busy
	test	al, 8
	jz	data_ready
	ret
pio_in:	call	data_ready
	xor	di, di
	mov	cx, 256
	mov	dx, 0x1f0
	rep	insw
	ret
set_lba:	# ebx, one sector
	call	not_busy
	mov	dx, 0x1f2
	mov	al, 1
	out	dx, al
	mov	eax, ebx
	mov	cx, 3
1:	inc	dx
	out	dx, al
	shr	eax, 8
	loop	1b
	inc	dx
	or	al, 0xe0
	out	dx, al
	ret
packet:	# ds:si: 12 bytes
	mov	dx, 0x171
	mov	al, 0
	out	dx, al
	mov	dx, 0x174
	mov	al, 0x00
	out	dx, al
	inc	dx
	mov	al, 0x08		# 2048 bytes at a time
	out	dx, al
	mov	dx, 0x177
	mov	al, 0xa0
	out	dx, al
1:	call	not_busy2
	test	al, 8
	jz	1b
	mov	cx, 6
	mov	dx, 0x170
	rep	outsw
	ret
drain:	# data until DRQ goes away, to es:0
	xor	di, di
1:	call	not_busy2
	test	al, 8
	jz	2f
	mov	dx, 0x174
	in	al, dx
	mov	cl, al
	inc	dx
	in	al, dx
	mov	ch, al
	shr	cx, 1
	mov	dx, 0x170
	rep	insw
	jmp	1b
2:	ret
	.balign	4
test_ready:
	.fill	12, 1, 0
request_sense:
	.byte	3, 0, 0, 0, 18, 0, 0, 0, 0, 0, 0, 0
read10:	.byte	0x28, 0, 0, 0, 300 >> 8, 300 & 255, 0, 0, 2, 0, 0, 0
dap:	.byte	16, 0, 2, 0
	.word	0, 0x1000
	.long	20000, 0
	PROGRAM_END
