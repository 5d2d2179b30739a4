# SPDX-License-Identifier: GPL-2.0-or-later
# Restarts: every way that programs know to start the machine anew, from states that they leave behind (8259As moved and
# masked, another timer rate, a graphics mode, the floppy controller in the middle of a command, interrupts of the serial
# port on, A20 shut). The firmware must come up each time, boot from the same disk, and find memory and CMOS as they were.
	.include "pc.inc"
	.set	STAGES, 10
	.set	CMOS_STAGE, 0x7e	# bytes of the CMOS that no firmware uses
	.set	CMOS_MAGIC, 0x7f
	.set	MAGIC, 0xa6

	.macro	cmos_get index
	mov	al, \index
	out	0x70, al
	in	al, 0x71
	.endm

main:
	cmos_get CMOS_MAGIC
	cmp	al, MAGIC
	je	1f
	mov	al, CMOS_MAGIC		# the first time
	out	0x70, al
	mov	al, MAGIC
	out	0x71, al
	xor	al, al
	call	put_stage
	mov	dword ptr [0x500], 0xfeedface
	mov	si, offset up		# a mark at 3 MiB
	call	move
	jmp	2f
1:	call	look			# what the restart before has left
2:	cmos_get CMOS_STAGE
	cmp	al, STAGES
	jb	1f
	xor	al, al			# forget it all: the same CMOS may see another run
	call	put_stage
	mov	al, CMOS_MAGIC
	out	0x70, al
	xor	al, al
	out	0x71, al
	jmp	finish
1:	mov	bl, al
	inc	al
	call	put_stage
	push	bx
	mov	ax, 0x13
	int	0x10
	pop	bx
	cli
	mov	al, 0x11		# interrupts at 60h and 68h, all masked
	out	0x20, al
	out	0xa0, al
	mov	al, 0x60
	out	0x21, al
	mov	al, 0x68
	out	0xa1, al
	mov	al, 4
	out	0x21, al
	mov	al, 2
	out	0xa1, al
	mov	al, 1
	out	0x21, al
	out	0xa1, al
	mov	al, 0xff
	out	0x21, al
	out	0xa1, al
	mov	al, 0x36
	out	0x43, al
	mov	al, 200
	out	0x40, al
	out	0x40, al
	mov	dx, 0x3f5		# the first bytes of a read
	mov	al, 0x46
	out	dx, al
	mov	al, 0
	out	dx, al
	mov	dx, COM1 + 1
	mov	al, 1
	out	dx, al
	mov	dx, COM1 + 4
	mov	al, 0x0b
	out	dx, al
	mov	dx, 0x3f6		# no interrupts from the disks
	mov	al, 0x0a
	out	dx, al
	mov	bh, 0
	add	bx, bx
	jmp	word ptr [methods + bx]

by_8042:
	in	al, 0x64
	test	al, 2
	jnz	by_8042
	mov	al, 0xfe
	out	0x64, al
	jmp	stuck
by_output_port:				# bit 0 of the output port, as a level
	mov	al, 0xd1
	out	0x64, al
1:	in	al, 0x64
	test	al, 2
	jnz	1b
	mov	al, 0xde
	out	0x60, al
	jmp	stuck
by_92:	mov	al, 0			# with A20 shut
	out	0x92, al
	mov	al, 1
	out	0x92, al
	jmp	stuck
by_cf9:	mov	dx, 0xcf9
	mov	al, 2
	out	dx, al
	mov	al, 6
	out	dx, al
	jmp	stuck
by_soft_cf9:
	mov	dx, 0xcf9
	mov	al, 0
	out	dx, al
	mov	al, 4
	out	dx, al
	jmp	stuck
by_triple_fault:
	lidt	[idtr_none]
	int3
	jmp	stuck
by_pm_triple_fault:			# with paging on and nothing mapped
	lgdt	[gdtr]
	lidt	[idtr_none]
	xor	ax, ax
	mov	di, 0x6000
	mov	cx, 0x800
	rep stosw
	mov	eax, 0x6000
	mov	cr3, eax
	mov	eax, cr0
	or	eax, 0x80000001
	mov	cr0, eax
stuck:	hlt
	jmp	stuck
by_bios:
	jmp_far	0xffff, 0
by_bootstrap:				# int 19h loads the boot sector and nothing else: the devices are still as they were
	call	put_devices_back
	sti
	int	0x19
	jmp	stuck
by_acpi:				# the reset register of the FADT
	call	find_rsdp
	jnz	1f
	call	unreal
	mov	ebx, [ebx + 16]		# RSDT
	mov	ecx, [ebx + 4]
	lea	edi, [ebx + 36]
	add	ecx, ebx
2:	cmp	edi, ecx
	jae	1f
	mov	edx, [edi]
	add	edi, 4
	cmp	dword ptr [edx], 0x50434146	# FACP
	jne	2b
	test	dword ptr [edx + 112], 0x400
	jz	1f
	mov	al, [edx + 128]
	mov	dx, [edx + 120]
	out	dx, al
	jmp	stuck
1:	jmp	by_cf9			# QEMU's FADT has none

find_rsdp:	# ebx, and Z if there is one
	mov	ax, 0xe000
1:	mov	fs, ax
	cmp	dword ptr fs:[0], 0x20445352
	jne	2f
	cmp	dword ptr fs:[4], 0x20525450
	jne	2f
	movzx	ebx, ax
	shl	ebx, 4
	ret
2:	inc	ax
	jnz	1b
	or	al, 1
	ret
unreal:	lgdt	[gdtr]
	mov	eax, cr0
	or	al, 1
	mov	cr0, eax
	jmp	1f
1:	mov	cx, 0x08
	mov	ds, cx
	and	al, 0xfe
	mov	cr0, eax
	jmp	1f
1:	xor	ax, ax
	mov	ds, ax
	ret

put_devices_back:
	mov	al, 0x11
	out	0x20, al
	out	0xa0, al
	mov	al, 8
	out	0x21, al
	mov	al, 0x70
	out	0xa1, al
	mov	al, 4
	out	0x21, al
	mov	al, 2
	out	0xa1, al
	mov	al, 1
	out	0x21, al
	out	0xa1, al
	mov	al, 0xb8
	out	0x21, al
	mov	al, 0x8f
	out	0xa1, al
	mov	al, 0x34
	out	0x43, al
	mov	al, 0
	out	0x40, al
	out	0x40, al
	mov	dx, COM1 + 1
	out	dx, al
	mov	dx, 0x3f6
	mov	al, 8
	out	dx, al
	push	bx
	mov	ax, 3
	int	0x10
	sti
	mov	ah, 0			# the floppy controller
	mov	dl, [boot_drive]
	int	0x13
	pop	bx
	ret

look:	cmos_get CMOS_STAGE
	mov	bl, al
	movzx	eax, al
	mov	si, offset text_stage
	call	puts
	call	puthex
	call	newline
	mov	ah, 0x0f
	push	bx
	int	0x10
	pop	bx
	check8	"text-mode-again", 3
	in	al, 0x21
	and	al, 0x07		# timer, keyboard and the other controller are open
	check8	"bios-pic-mask", 0
	mov	eax, [0x46c]
	sti
1:	hlt
	cmp	eax, [0x46c]
	je	1b
	mov	al, 0xe2		# channel 0: as SeaBIOS sets it
	out	0x43, al
	in	al, 0x40
	and	al, 0x3f
	check8	"pit-mode", 0x34
	mov	dword ptr [0x500], 0
	mov	si, offset down
	call	move
	mov	eax, [0x500]
	check	"memory-kept", 0xfeedface
	cmos_get 0x0f
	check8	"shutdown-status", 0
	mov	dx, COM1 + 1
	in	al, dx
	check8	"uart-interrupts-off", 0
	mov	ax, 0x2402		# A20, as the BIOS says
	int	0x15
	mov	ah, 1			# and it reads the disk
	mov	ax, 0x0201
	mov	bx, 0x6000
	mov	cx, 2
	xor	dx, dx
	mov	dl, [boot_drive]
	int	0x13
	check_carry "disk-reads", 0
	ret

move:	# 512 bytes by int 15h/87h with the table at si
	mov	cx, 256
	mov	ah, 0x87
	int	0x15
	ret
put_stage:
	push	ax
	mov	al, CMOS_STAGE
	out	0x70, al
	pop	ax
	out	0x71, al
	ret
text_stage:
	.asciz	"restart "
	.balign 4
methods:
	.word	by_8042, by_output_port, by_92, by_cf9, by_soft_cf9, by_triple_fault, by_pm_triple_fault, by_bios, by_bootstrap
	.word	by_acpi
	.balign 8
gdt:	.quad	0
	.quad	0x00cf93000000ffff
gdtr:	.word	15
	.long	gdt
idtr_none:
	.word	0
	.long	0
	.balign 8
up:	.quad	0, 0
	.word	0xffff, 0x0500, 0x9300, 0
	.word	0xffff, 0x0000, 0x9330, 0
	.quad	0, 0
down:	.quad	0, 0
	.word	0xffff, 0x0000, 0x9330, 0
	.word	0xffff, 0x0500, 0x9300, 0
	.quad	0, 0
	PROGRAM_END
