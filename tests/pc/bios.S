# SPDX-License-Identifier: GPL-2.0-or-later
# The BIOS's services as programs call them: int 10h (VBE), 11h, 12h, 13h, 14h, 15h, 16h, 17h, 1Ah; the A20 gate by every way;
# FDC and 8237 programmed directly; the keyboard controller by itself.
	.include "pc.inc"

main:
	int	0x12
	movzx	eax, ax
	check_range "int-12h-memory", 600, 640
	int	0x11
	and	ax, 0x31
	check16	"int-11h-floppy-and-video", 0x21
	# int 13h, floppy: parameters, status, CHS of several sectors, verify, errors.
	mov	ah, 8
	mov	dl, 0
	xor	di, di
	push	es
	int	0x13
	pop	es
	mov	ax, cx
	check16	"int-13h-08-chs", 0x4f12
	mov	al, dh
	check8	"int-13h-08-heads", 1
	xor	ax, ax
	mov	es, ax
	mov	ax, 0x0203
	mov	bx, 0x1000
	mov	cx, 0x0001
	mov	dx, 0
	int	0x13
	check_carry "int-13h-read", 0
	mov	ax, [0x11fe]
	check16	"int-13h-boot-sector", 0xaa55
	mov	eax, [0x1400]		# code, which does not change as the counters in the second sector do
	mov	edx, [0x8000]
	check_same "int-13h-third-sector"
	mov	ax, 0x0401
	mov	cx, 0x0001
	mov	dx, 0
	int	0x13
	check_carry "int-13h-verify", 0
	mov	ax, 0x0201
	mov	bx, 0x1000
	mov	cx, 0x0013		# sector 19 of 18
	mov	dx, 0
	int	0x13
	check_carry "int-13h-bad-sector", 1
	mov	ax, 0x0201
	mov	cx, 1
	mov	dx, 0x85		# no such disk
	int	0x13
	check_carry "int-13h-no-disk", 1
	# int 14h: COM1's status; 17h: no printer, or one that is ready: the call returns.
	mov	ah, 3
	xor	dx, dx
	int	0x14
	test	ah, 0x60
	check_flag "int-14h-line-status", nz
	# int 15h: E820 lists memory at 0 and at 1 MiB; 88h and E801h agree with 16 MiB.
	xor	ebx, ebx
	xor	bp, bp
	mov	dword ptr [v0], 0
1:	mov	eax, 0xe820
	mov	edx, 0x534d4150
	mov	ecx, 20
	mov	di, SCRATCH
	int	0x15
	jc	2f
	cmp	eax, 0x534d4150
	jne	2f
	inc	bp
	cmp	dword ptr [SCRATCH], 0x100000
	jne	3f
	cmp	dword ptr [SCRATCH + 16], 1
	jne	3f
	mov	eax, [SCRATCH + 8]
	mov	[v0], eax
3:	test	ebx, ebx
	jnz	1b
2:	mov	ax, bp
	cmp	ax, 4
	check_flag "e820-entries", ae
	mov	eax, [v0]
	check_range "e820-above-1M", 0xe00000, 0xf00000
	mov	ah, 0x88
	int	0x15
	movzx	eax, ax
	check_range "int-15h-88", 14336, 15360
	mov	ax, 0xe801
	int	0x15
	movzx	eax, cx
	check_range "int-15h-e801", 14336, 15360
	# 87h moves a block to 2 MiB and back.
	mov	dword ptr [0x2000], 0xfeedface
	mov	dword ptr [move_gdt + 0x12], 0x93002000
	mov	dword ptr [move_gdt + 0x1a], 0x93200000
	mov	si, offset move_gdt
	mov	cx, 16
	mov	ah, 0x87
	int	0x15
	check_carry "int-15h-87-up", 0
	mov	dword ptr [move_gdt + 0x12], 0x93200000
	mov	dword ptr [move_gdt + 0x1a], 0x93003000
	mov	si, offset move_gdt
	mov	cx, 16
	mov	ah, 0x87
	int	0x15
	mov	eax, [0x3000]
	check	"int-15h-87-down", 0xfeedface
	mov	ah, 0xc0
	push	es
	int	0x15
	mov	al, es:[bx + 2]
	pop	es
	check8	"int-15h-c0-model", 0xfc
	# 24xxh: A20.
	mov	ax, 0x2400
	int	0x15
	call	a20_state
	check8	"a20-off-int-15h", 0
	mov	ax, 0x2402
	int	0x15
	check8	"a20-2402-off", 0
	mov	ax, 0x2401
	int	0x15
	call	a20_state
	check8	"a20-on-int-15h", 1
	# Port 92h.
	in	al, 0x92
	and	al, 0xfc
	out	0x92, al
	call	a20_state
	check8	"a20-off-port-92", 0
	in	al, 0x92
	or	al, 2
	and	al, 0xfe
	out	0x92, al
	call	a20_state
	check8	"a20-on-port-92", 1
	# The keyboard controller's output port, as HIMEM does it.
	cli
	mov	al, 0xd1
	call	kbc_command
	mov	al, 0xdd
	call	kbc_data
	call	kbc_wait
	call	a20_state
	check8	"a20-off-8042", 0
	mov	al, 0xd1
	call	kbc_command
	mov	al, 0xdf
	call	kbc_data
	call	kbc_wait
	call	a20_state
	check8	"a20-on-8042", 1
	# Self test, command byte, LEDs and identification of the keyboard, with interrupts off.
	mov	al, 0xad
	call	kbc_command
	call	kbc_flush
	mov	al, 0x20
	call	kbc_command
	call	kbc_read
	mov	[kbc_mode], al
	mov	al, 0xaa
	call	kbc_command
	call	kbc_read
	check8	"8042-self-test", 0x55
	mov	al, 0xab
	call	kbc_command
	call	kbc_read
	check8	"8042-port-test", 0
	mov	al, 0x60
	call	kbc_command
	mov	al, [kbc_mode]
	and	al, 0xee		# no interrupt, clock on
	call	kbc_data
	mov	al, 0xed
	call	kbc_data
	call	kbc_read
	check8	"keyboard-leds-ack", 0xfa
	mov	al, 2
	call	kbc_data
	call	kbc_read
	check8	"keyboard-leds-data", 0xfa
	mov	al, 0xee
	call	kbc_data
	call	kbc_read
	check8	"keyboard-echo", 0xee
	mov	al, 0xf2
	call	kbc_data
	call	kbc_read
	call	kbc_read
	check8	"keyboard-id", 0xab
	call	kbc_read
	mov	al, 0xff
	call	kbc_data
	call	kbc_read
	check8	"keyboard-reset-ack", 0xfa
	call	kbc_read
	check8	"keyboard-reset-done", 0xaa
	mov	al, 0x60
	call	kbc_command
	mov	al, [kbc_mode]
	call	kbc_data
	call	kbc_wait
	# The mouse's side: a byte looped back through D3h sets the auxiliary flag.
	mov	al, 0xd3
	call	kbc_command
	mov	al, 0x42
	call	kbc_data
1:	in	al, 0x64
	test	al, 1
	jz	1b
	and	al, 0x21
	check8	"auxiliary-status", 0x21
	in	al, 0x60
	check8	"auxiliary-data", 0x42
	mov	al, 0xae
	call	kbc_command
	sti
	# Keys by D2h reach the BIOS: "a" pressed and released; shift held makes it "A"; int 16h says both.
	mov	si, offset keys
1:	lodsb
	test	al, al
	jz	2f
	mov	ah, al
	mov	al, 0xd2
	call	kbc_command
	mov	al, ah
	call	kbc_data
3:	in	al, 0x64		# taken by the BIOS's IRQ 1
	test	al, 3
	jnz	3b
	jmp	1b
2:	mov	ah, 1
	int	0x16
	check16	"int-16h-peek", 0x1e61
	mov	ah, 0
	int	0x16
	check16	"int-16h-a", 0x1e61
	mov	ah, 0x10
	int	0x16
	check16	"int-16h-shift-a", 0x1e41
	mov	ah, 0
	int	0x16
	check16	"int-16h-enter", 0x1c0d
	mov	ah, 0
	int	0x16
	check16	"int-16h-f1", 0x3b00
	mov	ah, 1
	int	0x16
	check_flag "int-16h-empty", z
	mov	ah, 2
	int	0x16
	and	al, 3
	check8	"int-16h-shift-state", 0
	mov	ah, 5
	mov	cx, 0x2c7a
	int	0x16
	mov	ah, 0
	int	0x16
	check16	"int-16h-stuffed", 0x2c7a
	# int 1Ah: time and date in BCD, tick count set and read.
	mov	ah, 2
	int	0x1a
	check_carry "int-1ah-time", 0
	mov	ah, 4
	int	0x1a
	mov	al, ch
	check8	"int-1ah-century", 0x20
	mov	ah, 1
	mov	cx, 0x12
	mov	dx, 0x3456
	int	0x1a
	mov	ah, 0
	int	0x1a
	mov	ax, cx
	check16	"int-1ah-set-ticks", 0x12
	# PCI BIOS and APM answer.
	mov	ax, 0xb101
	xor	edi, edi
	int	0x1a
	mov	eax, edx
	check	"pci-bios", 0x20494350
	mov	ax, 0x5300
	xor	bx, bx
	int	0x15
	jc	1f
	mov	ax, bx
	check16	"apm-signature", 0x504d
1:	# VBE: information, a mode's description, set and back.
	mov	di, 0x3000
	mov	dword ptr [di], 0x32454256
	mov	ax, 0x4f00
	int	0x10
	check16	"vbe-00", 0x004f
	mov	eax, [0x3000]
	check	"vbe-signature", 0x41534556
	mov	di, 0x3000
	mov	ax, 0x4f01
	mov	cx, 0x101
	int	0x10
	mov	ax, [0x3000 + 18]
	check16	"vbe-101-width", 640
	mov	ax, 0x4f03
	int	0x10
	mov	ax, bx
	check16	"vbe-current-mode", 3

	# The floppy controller and the 8237 by hand: cylinder 0, head 0, sectors 3 and 4 to 12000h through channel 2.
	mov	eax, [0x0e * 4]
	mov	[old0e], eax
	set_vector 0x0e, irq6
	mov	byte ptr [irq6_came], 0
	mov	dx, 0x3f2
	mov	al, 0x08		# reset
	out	dx, al
	mov	cx, 200
1:	in	al, 0x61
	loop	1b
	mov	al, 0x1c		# drive 0, motor, DMA
	out	dx, al
	call	wait_irq6
	mov	cx, 4
1:	push	cx
	mov	al, 8			# sense interrupt status, four times after a reset
	call	fdc_out
	call	fdc_in
	mov	bl, al
	call	fdc_in
	pop	cx
	loop	1b
	mov	al, bl
	and	al, 0xc0
	check8	"fdc-reset-status", 0xc0
	mov	al, 3			# specify
	call	fdc_out
	mov	al, 0xdf
	call	fdc_out
	mov	al, 2
	call	fdc_out
	mov	byte ptr [irq6_came], 0
	mov	al, 7			# recalibrate
	call	fdc_out
	mov	al, 0
	call	fdc_out
	call	wait_irq6
	mov	al, 8
	call	fdc_out
	call	fdc_in
	check8	"fdc-recalibrate", 0x20
	call	fdc_in
	check8	"fdc-cylinder-0", 0
	mov	al, 6			# mask channel 2
	out	0x0a, al
	out	0x0c, al
	mov	al, 0x46		# single, write to memory
	out	0x0b, al
	mov	al, 0x00
	out	0x04, al
	mov	al, 0x20
	out	0x04, al
	mov	al, 1
	out	0x81, al
	out	0x0c, al
	mov	al, (1024 - 1) & 255
	out	0x05, al
	mov	al, (1024 - 1) >> 8
	out	0x05, al
	mov	al, 2
	out	0x0a, al
	mov	byte ptr [irq6_came], 0
	mov	si, offset fdc_read
	mov	cx, 9
1:	lodsb
	call	fdc_out
	loop	1b
	call	wait_irq6
	mov	di, SCRATCH
	mov	cx, 7
1:	call	fdc_in
	stosb
	loop	1b
	mov	al, [SCRATCH]
	and	al, 0xf8
	check8	"fdc-read-st0", 0
	mov	al, [SCRATCH + 5]
	check8	"fdc-read-next-sector", 5
	in	al, 0x08
	test	al, 4
	check_flag "dma-terminal-count", nz
	push	es
	mov	ax, 0x1000
	mov	es, ax
	mov	si, 0x8000
	mov	di, 0x2000
	mov	cx, 256
	repe	cmpsd
	pop	es
	mov	ax, cx
	check16	"dma-floppy-data", 0
	mov	eax, [old0e]
	mov	[0x0e * 4], eax
	xor	ax, ax			# the BIOS finds its way again
	mov	dl, 0
	int	0x13
	mov	ax, 0x0201
	mov	bx, 0x1000
	mov	cx, 1
	mov	dx, 0
	int	0x13
	check_carry "int-13h-after-all", 0
	jmp	finish

# al = 1 if 1 MiB and 0 differ.
a20_state:
	push	es
	push	bx
	push	cx
	mov	ax, 0xffff
	mov	es, ax
	mov	bx, ds:[SCRATCH]
	mov	cx, es:[SCRATCH + 16]
	mov	word ptr ds:[SCRATCH], 0x1111
	mov	word ptr es:[SCRATCH + 16], 0x2222
	mov	ax, ds:[SCRATCH]
	mov	es:[SCRATCH + 16], cx
	mov	ds:[SCRATCH], bx
	cmp	ax, 0x1111
	sete	al
	pop	cx
	pop	bx
	pop	es
	ret
kbc_wait:
	push	ax
1:	in	al, 0x64
	test	al, 2
	jnz	1b
	pop	ax
	ret
kbc_command:
	call	kbc_wait
	out	0x64, al
	ret
kbc_data:
	call	kbc_wait
	out	0x60, al
	ret
kbc_read:
	in	al, 0x64
	test	al, 1
	jz	kbc_read
	in	al, 0x60
	ret
kbc_flush:
	in	al, 0x64
	test	al, 1
	jz	1f
	in	al, 0x60
	jmp	kbc_flush
1:	ret
fdc_out:
	push	dx
	push	ax
	mov	dx, 0x3f4
1:	in	al, dx
	and	al, 0xc0
	cmp	al, 0x80
	jne	1b
	inc	dx
	pop	ax
	out	dx, al
	pop	dx
	ret
fdc_in:
	push	dx
	mov	dx, 0x3f4
1:	in	al, dx
	and	al, 0xc0
	cmp	al, 0xc0
	jne	1b
	inc	dx
	in	al, dx
	pop	dx
	ret
wait_irq6:
	cmp	byte ptr [irq6_came], 0
	je	wait_irq6
	ret
irq6:	mov	byte ptr cs:[irq6_came], 1
	push	ax
	mov	al, 0x20
	out	0x20, al
	pop	ax
	iret
fdc_read:
	.byte	0xe6, 0, 0, 0, 3, 2, 18, 0x1b, 0xff
keys:	.byte	0x1e, 0x9e, 0x2a, 0x1e, 0x9e, 0xaa, 0x1c, 0x9c, 0x3b, 0xbb, 0
	.balign	4
old0e:	.long	0
v0:	.long	0
irq6_came:
	.byte	0
kbc_mode:
	.byte	0
	.balign	8
move_gdt:
	.quad	0, 0
	.word	0xffff, 0, 0x9300, 0
	.word	0xffff, 0, 0x9300, 0
	.quad	0, 0
	PROGRAM_END
