# SPDX-License-Identifier: GPL-2.0-or-later
# Interrupt controllers and timers as programs take them over: PICs moved and put back, handlers of IRQ 0 and 1 chained to
# the BIOS, masks, priorities (fixed, rotating, special mask), poll mode, spurious IRQ 7, automatic end of interrupt; the
# PIT's three channels, measured through port 61h; RTC periodic and update interrupts; tick rates that games set.
	.include "pc.inc"
	.set	PIC1, 0x20
	.set	PIC2, 0xa0

main:
	# IRQ 0 chained to the BIOS: both count.
	cli
	mov	eax, [8 * 4]
	mov	[old8], eax
	set_vector 8, count_and_chain
	mov	ebx, [0x46c]
	mov	dword ptr [count], 0
	sti
1:	cmp	dword ptr [count], 3
	jb	1b
	cli
	mov	eax, [old8]
	mov	[8 * 4], eax
	mov	eax, [0x46c]
	sub	eax, ebx
	mov	edx, [count]
	check_same "chained-irq0"
	sti
	# int 1Ch is called by the BIOS's handler.
	mov	eax, [0x1c * 4]
	mov	[old1c], eax
	set_vector 0x1c, count_1c
	mov	dword ptr [count], 0
1:	hlt
	cmp	dword ptr [count], 2
	jb	1b
	cli
	mov	eax, [old1c]
	mov	[0x1c * 4], eax
	sti
	mov	eax, 1
	check	"int-1ch", 1

	# A game's rate: 1000 Hz on an own handler that calls the BIOS's 18.2 times a second. Checked against the BIOS clock.
	cli
	set_vector 8, fast_tick
	mov	al, 0x36
	out	0x43, al
	mov	ax, 1193
	out	0x40, al
	mov	al, ah
	out	0x40, al
	mov	dword ptr [count], 0
	mov	dword ptr [chained], 0
	mov	word ptr [fraction], 0
	mov	ebx, [0x46c]
	sti
1:	hlt
	cmp	dword ptr [count], 500
	jb	1b
	cli
	mov	eax, [count]
	mov	[v0], eax
	xor	al, al			# 65536 again, as the BIOS has it
	mov	al, 0x36
	out	0x43, al
	xor	al, al
	out	0x40, al
	out	0x40, al
	mov	eax, [old8]
	mov	[8 * 4], eax
	# As many as the ticks there were: more than 500, where the host was busy and several came one after the other.
	mov	eax, [v0]
	imul	eax, eax, 1193
	shr	eax, 16
	mov	edx, [0x46c]
	sub	edx, ebx
	xchg	eax, edx
	check_same "fast-tick-chains"
	sti
	# The counter of channel 0 goes down and wraps; a latch holds both bytes.
	mov	al, 0
	out	0x43, al
	in	al, 0x40
	mov	cl, al
	in	al, 0x40
	mov	ch, al
	mov	dx, 30
1:	mov	al, 0
	out	0x43, al
	in	al, 0x40
	mov	bl, al
	in	al, 0x40
	mov	bh, al
	cmp	bx, cx
	jne	2f
	dec	dx
	jnz	1b
2:	mov	ax, dx
	test	ax, ax
	check_flag "channel-0-counts", nz
	# Read-back: status of channel 0 is mode 3 or 2, both bytes.
	mov	al, 0xe2
	out	0x43, al
	in	al, 0x40
	and	al, 0x3e
	check8	"read-back-status", 0x36

	# Channel 2 through port 61h: gate, output, no speaker. One-shot of 11932 counts (10 ms) seen at bit 5.
	in	al, 0x61
	and	al, 0xfc
	or	al, 1
	out	0x61, al
	mov	al, 0xb0		# mode 0
	out	0x43, al
	mov	ax, 11932
	out	0x42, al
	mov	al, ah
	out	0x42, al
	in	al, 0x61
	and	al, 0x20
	check8	"channel-2-low-first", 0
	xor	ecx, ecx
1:	inc	ecx
	in	al, 0x61
	test	al, 0x20
	jz	1b
	mov	eax, 1
	check	"channel-2-fires", 1
	if_tcg	gate_done		# QEMU's mode 0 counts on without its gate
	# With the gate closed it stands still.
	in	al, 0x61
	and	al, 0xfc
	out	0x61, al
	mov	al, 0xb0
	out	0x43, al
	mov	al, 100
	out	0x42, al
	mov	al, 0
	out	0x42, al
	mov	cx, 2000
1:	in	al, 0x61
	loop	1b
	and	al, 0x20
	check8	"channel-2-gate-closed", 0
	in	al, 0x61
	or	al, 1
	out	0x61, al
	mov	cx, 0
1:	in	al, 0x61
	test	al, 0x20
	loopz	1b
	in	al, 0x61
	and	al, 0x20
	check8	"channel-2-gate-open", 0x20
gate_done:
	# A tone: square wave, the output is seen high and low.
	mov	al, 0xb6
	out	0x43, al
	mov	ax, 1193
	out	0x42, al
	mov	al, ah
	out	0x42, al
	in	al, 0x61
	or	al, 3
	out	0x61, al
	mov	ecx, 3000000
	xor	bx, bx
1:	in	al, 0x61
	and	al, 0x20
	jz	2f
	or	bl, 1
	jmp	3f
2:	or	bh, 1
3:	cmp	bx, 0x101
	je	4f
	dec	ecx
	jnz	1b
4:	in	al, 0x61
	and	al, 0xfc
	out	0x61, al
	mov	ax, bx
	check16	"speaker-square-wave", 0x101
	# The refresh bit (4) of port 61h toggles: delay loops of AT programs count it.
	mov	cx, 20
	in	al, 0x61
	mov	bl, al
1:	in	al, 0x61
	xor	al, bl
	test	al, 0x10
	jz	1b
	xor	bl, 0x10
	loop	1b
	mov	eax, 1
	check	"refresh-toggles", 1

	# The master moved to 60h: own handlers there, all masked but IRQ 0; then back to 8.
	cli
	in	al, 0x21
	mov	[mask1], al
	mov	bl, 0x60
	call	program_master
	mov	al, 0xfe
	out	0x21, al
	set_vector 0x60, count_eoi
	mov	dword ptr [count], 0
	sti
1:	cmp	dword ptr [count], 3
	jb	1b
	cli
	mov	eax, 1
	check	"pic-moved", 1
	in	al, 0x21
	check8	"mask-reads-back", 0xfe
	# Masked: it stays in IRR.
	mov	al, 0xff
	out	0x21, al
	mov	al, 0x0a
	out	PIC1, al
1:	in	al, PIC1
	test	al, 1
	jz	1b
	and	al, 1
	check8	"irr-shows-masked", 1
	# In service: ISR bit 0 inside the handler, a second one does not come before EOI.
	set_vector 0x60, isr_probe
	mov	dword ptr [count], 0
	mov	al, 0xfe
	out	0x21, al
	sti
1:	cmp	dword ptr [count], 1
	jb	1b
	cli
	mov	al, [isr_seen]
	check8	"isr-in-handler", 1
	check_var "no-second-before-eoi", count, 1
	mov	al, 0x20
	out	PIC1, al
	mov	al, 0x0b
	out	PIC1, al
	in	al, PIC1
	check8	"isr-after-eoi", 0
	# Specific EOI; rotating priority: after `rotate on specific EOI` of IRQ 0 IRQ 0 is the lowest. (Only acceptance is
	# checked: ticks still come.)
	set_vector 0x60, count_rotate
	mov	dword ptr [count], 0
	sti
1:	cmp	dword ptr [count], 2
	jb	1b
	cli
	mov	al, 0xc7		# set priority: IRQ 7 lowest, as after reset
	out	PIC1, al
	mov	eax, 1
	check	"rotate-on-eoi", 1
	# Poll mode: with interrupts off the poll command acknowledges.
	mov	al, 0x0c
1:	mov	al, 0x0c
	out	PIC1, al
	in	al, PIC1
	test	al, 0x80
	jz	1b
	check8	"poll-irq0", 0x80
	mov	al, 0x20
	out	PIC1, al
	# Special mask mode: in a handler of IRQ 0, masked itself, lower ones come (here IRQ 1 by the keyboard controller).
	set_vector 0x61, irq1_plain
	set_vector 0x60, irq0_special
	mov	dword ptr [count], 0
	mov	byte ptr [irq1_came], 0
	mov	al, 0xfc
	out	0x21, al
	sti
1:	cmp	dword ptr [count], 1
	jb	1b
	cli
	mov	al, [irq1_came]
	check8	"special-mask-mode", 1
	# Automatic EOI.
	mov	al, 0x11
	out	PIC1, al
	mov	al, 0x60
	out	0x21, al
	mov	al, 4
	out	0x21, al
	mov	al, 3
	out	0x21, al
	mov	al, 0xfe
	out	0x21, al
	set_vector 0x60, count_only
	mov	dword ptr [count], 0
	sti
1:	cmp	dword ptr [count], 3
	jb	1b
	cli
	mov	al, 0x0b
	out	PIC1, al
	in	al, PIC1
	check8	"auto-eoi", 0
	# A spurious IRQ 7: level-triggered mode, so that a request that goes away before its acknowledge is seen. Here:
	# the keyboard's request is raised with interrupts off, then the byte is read.
	mov	bl, 0x60
	call	program_master
	set_vector 0x67, spurious
	mov	al, 0x7d		# IRQ 1 and 7
	out	0x21, al
	call	fake_key
	in	al, 0x60
	mov	byte ptr [spurious_isr], 0xff
	set_vector 0x61, irq1_plain
	sti
	nop
	nop
	cli
	mov	al, [mask1]
	push	ax
	mov	al, 0x0b
	out	PIC1, al
	in	al, PIC1
	and	al, 0x80
	check8	"isr-7-clear", 0
	mov	al, 0x20
	out	PIC1, al
	# Back to the BIOS's place.
	mov	bl, 8
	call	program_master
	pop	ax
	out	0x21, al
	sti
	mov	eax, [0x46c]
1:	cmp	eax, [0x46c]
	je	1b
	mov	eax, 1
	check	"ticks-after-all", 1

	# RTC: periodic interrupts at 1024 Hz through the slave, register C read each time.
	cli
	mov	eax, [0x70 * 4]
	mov	[old70], eax
	set_vector 0x70, rtc_irq
	in	al, 0xa1
	mov	[mask2], al
	and	al, 0xfe
	out	0xa1, al
	in	al, 0x21
	and	al, 0xfb
	out	0x21, al
	mov	al, 0x8a
	call	rtc_read
	and	al, 0xf0
	or	al, 6
	mov	ah, al
	mov	al, 0x8a
	call	rtc_write
	mov	al, 0x8b
	call	rtc_read
	mov	[rtc_b], al
	or	al, 0x40
	mov	ah, al
	mov	al, 0x8b
	call	rtc_write
	mov	al, 0x0c
	call	rtc_read
	mov	dword ptr [count], 0
	sti
1:	cmp	dword ptr [count], 100
	jb	1b
	cli
	mov	al, [rtc_flags]
	and	al, 0xc0
	check8	"rtc-periodic", 0xc0
	# Update-ended interrupt: the seconds change.
	mov	ah, [rtc_b]
	or	ah, 0x10
	mov	al, 0x8b
	call	rtc_write
	mov	al, 0x0c
	call	rtc_read
	mov	byte ptr [rtc_flags], 0
	sti
1:	hlt
	test	byte ptr [rtc_flags], 0x10	# a periodic one may still be on its way
	jz	1b
	cli
	mov	al, [rtc_flags]
	and	al, 0x90
	check8	"rtc-update-ended", 0x90
	mov	ah, [rtc_b]
	mov	al, 0x8b
	call	rtc_write
	mov	al, 0x0c
	call	rtc_read
	mov	al, [mask2]
	out	0xa1, al
	mov	eax, [old70]
	mov	[0x70 * 4], eax
	sti
	# CMOS RAM keeps what is written.
	mov	al, 0x40
	call	rtc_read
	mov	bl, al
	mov	ax, 0xa540
	call	rtc_write
	mov	al, 0x40
	call	rtc_read
	check8	"cmos-keeps", 0xa5
	mov	ah, bl
	mov	al, 0x40
	call	rtc_write
	mov	al, 0x0d
	call	rtc_read
	check8	"rtc-valid-ram", 0x80
	jmp	finish

rtc_read:	# al = index
	out	0x70, al
	in	al, 0x71
	ret
rtc_write:	# al = index, ah = value
	out	0x70, al
	mov	al, ah
	out	0x71, al
	ret
# bl = first vector
program_master:
	mov	al, 0x11
	out	PIC1, al
	mov	al, bl
	out	0x21, al
	mov	al, 4
	out	0x21, al
	mov	al, 1
	out	0x21, al
	ret
# A byte in the keyboard's output buffer by controller command D2h: raises IRQ 1.
fake_key:
	push	ax
1:	in	al, 0x64
	test	al, 2
	jnz	1b
	mov	al, 0xd2
	out	0x64, al
1:	in	al, 0x64
	test	al, 2
	jnz	1b
	mov	al, 0xfa
	out	0x60, al
1:	in	al, 0x64
	test	al, 1
	jz	1b
	pop	ax
	ret
count_and_chain:
	inc	dword ptr cs:[count]
	jmp	dword ptr cs:[old8]
count_1c:
	inc	dword ptr cs:[count]
	iret
count_eoi:
	inc	dword ptr cs:[count]
	push	ax
	mov	al, 0x20
	out	PIC1, al
	pop	ax
	iret
count_only:
	inc	dword ptr cs:[count]
	iret
count_rotate:
	inc	dword ptr cs:[count]
	push	ax
	mov	al, 0xe0		# rotate on specific EOI, level 0
	out	PIC1, al
	pop	ax
	iret
fast_tick:
	inc	dword ptr cs:[count]
	add	word ptr cs:[fraction], 1193
	jnc	1f
	pushf
	call	dword ptr cs:[old8]
	iret
1:	push	ax
	mov	al, 0x20
	out	PIC1, al
	pop	ax
	iret
isr_probe:
	push	ax
	push	cx
	inc	dword ptr cs:[count]
	mov	al, 0x0b
	out	PIC1, al
	in	al, PIC1
	mov	cs:[isr_seen], al
	sti				# another tick may not come in: IRQ 0 is in service
	mov	ecx, cs:[count]
	mov	al, 0x0a
	out	PIC1, al
1:	in	al, PIC1
	test	al, 1
	jz	1b
	nop
	cli
	pop	cx
	pop	ax
	iret
irq0_special:
	push	ax
	push	cx
	mov	al, 0x68		# special mask mode on
	out	PIC1, al
	mov	al, 0xfd		# IRQ 0 masked, IRQ 1 on
	out	0x21, al
	sti
	call	fake_key_once
	mov	cx, 0
1:	cmp	byte ptr cs:[irq1_came], 0
	loope	1b
	cli
	mov	al, 0x48
	out	PIC1, al
	mov	al, 0x60		# specific EOI of level 0
	out	PIC1, al
	inc	dword ptr cs:[count]
	pop	cx
	pop	ax
	iret
fake_key_once:
	push	ax
	mov	al, 0xd2
	out	0x64, al
1:	in	al, 0x64
	test	al, 2
	jnz	1b
	mov	al, 0xfa
	out	0x60, al
	pop	ax
	ret
irq1_plain:
	push	ax
	in	al, 0x60
	mov	byte ptr cs:[irq1_came], 1
	mov	al, 0x61
	out	PIC1, al
	pop	ax
	iret
spurious:
	push	ax
	mov	al, 0x0b
	out	PIC1, al
	in	al, PIC1
	mov	cs:[spurious_isr], al
	pop	ax
	iret
rtc_irq:
	push	ax
	mov	al, 0x0c
	out	0x70, al
	in	al, 0x71
	mov	cs:[rtc_flags], al
	inc	dword ptr cs:[count]
	mov	al, 0x20
	out	PIC2, al
	out	PIC1, al
	pop	ax
	iret
	.balign	4
count:	.long	0
chained:
	.long	0
old8:	.long	0
old1c:	.long	0
old70:	.long	0
v0:	.long	0
fraction:
	.word	0
mask1:	.byte	0
mask2:	.byte	0
isr_seen:
	.byte	0
irq1_came:
	.byte	0
spurious_isr:
	.byte	0
rtc_b:	.byte	0
rtc_flags:
	.byte	0
	PROGRAM_END
