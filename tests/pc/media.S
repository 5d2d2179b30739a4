# SPDX-License-Identifier: GPL-2.0-or-later
# Media that come and go while a program runs: the CD-ROM drive says so by unit attention and "no medium", obeys prevent and
# allow, loads and ejects by itself; the floppy drive by its change line, and int 13h by status 06h. The user's side is the
# one who reads COM1: "media WHAT" asks for it (tests/pc/run.py), and waits for a byte.
	.include "pc.inc"
	.set	SENSE, 0x6000		# answers
	.set	DATA, 0x6800

	.macro	media what
	call	ask_media
	.asciz	"\what"
	.endm

main:
	call	settle			# whatever the drive wants to say after power-on
	mov	ax, 7
	call	read_cd
	check	"cd-1-sector-7", 7
	# Another disc: attention, then its data.
	mov	byte ptr [seen_28], 0
	media "cd-other"
	call	settle
	movzx	eax, byte ptr [seen_28]
	check	"cd-change-attention", 1
	mov	ax, 7
	call	read_cd
	check	"cd-2-sector-7", 1007
	# None.
	media "cd-eject"
	mov	cx, 20
1:	call	ready
	cmp	ax, 0x023a		# not ready, no medium
	je	2f
	loop	1b
2:	check16	"cd-ejected", 0x023a
	mov	si, offset c_read
	call	packet
	call	finish_packet
	and	al, 1
	check8	"cd-ejected-read-fails", 1
	mov	byte ptr [seen_28], 0
	media "cd-first"
	call	settle
	movzx	eax, byte ptr [seen_28]
	check	"cd-insert-attention", 1
	mov	ax, 9
	call	read_cd
	check	"cd-1-again", 9
	# Locked: the drive does not eject, whoever asks. The user's wish becomes an event for the guest.
	mov	si, offset c_prevent
	call	packet
	call	finish_packet
	and	al, 1
	check8	"prevent", 0
	mov	si, offset c_eject
	call	packet
	call	finish_packet
	and	al, 1
	check8	"locked-eject-fails", 1
	call	sense
	check8	"locked-eject-sense", 0x53	# removal prevented
	media "cd-eject-locked"			# has to fail
	mov	ax, 9
	call	read_cd
	check	"locked-still-there", 9
	mov	si, offset c_allow
	call	packet
	call	finish_packet
	and	al, 1
	check8	"allow", 0
	# Ejected and loaded by the program.
	mov	si, offset c_eject
	call	packet
	call	finish_packet
	and	al, 1
	check8	"program-ejects", 0
	call	ready
	check16	"program-ejected", 0x023a
	mov	si, offset c_load
	call	packet
	call	finish_packet
	and	al, 1
	check8	"program-loads", 0

	# The floppy: read, change, read. The change line is the disk changed bit of 3F7h while the motor runs, and goes away
	# with a step.
	mov	bx, DATA
	call	read_floppy
	check_carry "floppy-read", 0
	mov	ax, [DATA + 2]
	mov	[first], ax
	media "floppy-other"
	mov	dx, 0x3f2		# motor on
	mov	al, 0x1c
	out	dx, al
	mov	dx, 0x3f7
	in	al, dx
	and	al, 0x80
	check8	"change-line", 0x80
	mov	bx, DATA
	mov	byte ptr [tries], 3
1:	call	read_floppy		# the BIOS may say 06h first
	jnc	2f
	dec	byte ptr [tries]
	jnz	1b
	stc
2:	check_carry "other-floppy-read", 0
	mov	eax, [DATA]
	check	"other-floppy-data", 0x0f10bb1e
	mov	ax, 0x0201		# another cylinder
	mov	bx, DATA
	mov	cx, 0x0901
	xor	dh, dh
	mov	dl, [boot_drive]
	int	0x13
	mov	dx, 0x3f7
	in	al, dx
	and	al, 0x80
	check8	"change-line-clear", 0
	jmp	finish

ask_media:
	pusha
	push	ds
	mov	bp, sp
	mov	si, [bp + 18]
	mov	ax, cs
	mov	ds, ax
	push	si
	mov	si, offset text_media
	call	puts
	pop	si
	call	puts
	call	newline
	mov	[bp + 18], si
	mov	dx, COM1 + 5
1:	in	al, dx
	test	al, 1
	jz	1b
	mov	dx, COM1
	in	al, dx
	pop	ds
	popa
	ret

read_floppy:	# cylinder 1, head 0, sector 1 to es:bx
	mov	ax, 0x0201
	mov	cx, 0x0101
	xor	dh, dh
	mov	dl, [boot_drive]
	int	0x13
	ret

settle:	# TEST UNIT READY until it is, or two hundred times; notes what it said
	push	cx
	mov	cx, 200
1:	call	ready
	cmp	ax, 0x0628
	jne	2f
	mov	byte ptr [seen_28], 1
2:	test	ax, ax
	jz	3f
	loop	1b
3:	pop	cx
	ret

ready:	# ax = sense key and additional sense code, 0: ready
	mov	si, offset c_ready
	push	cx
	call	packet
	call	finish_packet
	pop	cx
	and	ax, 1
	jz	1f
	call	sense
1:	ret

sense:	# REQUEST SENSE
	push	cx
	push	di
	mov	si, offset c_sense
	call	packet
	mov	di, SENSE
	call	finish_packet_at
	mov	ah, [SENSE + 2]
	and	ah, 15
	mov	al, [SENSE + 12]
	pop	di
	pop	cx
	ret

read_cd:	# sector ax; eax = its first four bytes
	mov	[c_read + 5], al
	mov	dword ptr [DATA], 0
	mov	si, offset c_read
	call	packet
	mov	di, DATA
	call	finish_packet_at
	mov	eax, [DATA]
	ret

packet:	# ds:si: 12 bytes to the master of the secondary channel, no interrupts
	mov	dx, 0x376
	mov	al, 0x0a
	out	dx, al
	mov	dx, 0x176
	mov	al, 0xa0
	out	dx, al
	mov	dx, 0x171
	mov	al, 0
	out	dx, al
	mov	dx, 0x174
	out	dx, al
	inc	dx
	mov	al, 0x08
	out	dx, al
	mov	dx, 0x177
	mov	al, 0xa0
	out	dx, al
1:	call	not_busy
	test	al, 8
	jz	1b
	mov	cx, 6
	mov	dx, 0x170
	rep	outsw
	ret

finish_packet:
	mov	di, DATA
finish_packet_at:	# data to ds:di until it ends; al = status
1:	call	not_busy
	test	al, 8
	jz	3f
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
3:	ret

not_busy:
	mov	dx, 0x376
	in	al, dx
	in	al, dx
	in	al, dx
	in	al, dx
	test	al, 0x80
	jnz	not_busy
	mov	dx, 0x177
	in	al, dx
	ret

text_media:
	.asciz	"media "
seen_28:
	.byte	0
tries:	.byte	0
	.balign 2
first:	.word	0
c_ready:
	.byte	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
c_sense:
	.byte	3, 0, 0, 0, 18, 0, 0, 0, 0, 0, 0, 0
c_read:	.byte	0x28, 0, 0, 0, 0, 7, 0, 0, 1, 0, 0, 0
c_prevent:
	.byte	0x1e, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0
c_allow:
	.byte	0x1e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
c_eject:
	.byte	0x1b, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0
c_load:	.byte	0x1b, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0
	PROGRAM_END
