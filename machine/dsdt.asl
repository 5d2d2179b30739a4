/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What ACPI systems are told about the board: an i440FX/PIIX3 PC with the ISA devices that novt has.
 *
 * What depends on the command line comes from an SSDT of integers that machine/acpi.c writes: NCOM (bit n: serial
 * port n + 1 exists), NLPT, NFDC (bit n: floppy drive n), PMLO (where the PCI memory window begins), PMIO (the
 * power management ports).
 *
 * PCI interrupts go through the four links, which are the PIIX3's PIRQ registers, in PIC and in APIC mode alike:
 * the I/O APIC's pins 5, 10 and 11 are the ISA interrupts of these numbers, level-triggered by the MADT.
 */
DefinitionBlock ("dsdt.aml", "DSDT", 1, "NOVT", "NOVTDSDT", 1)
{
    External (\NCOM, IntObj)
    External (\NLPT, IntObj)
    External (\NFDC, IntObj)
    External (\PMLO, IntObj)
    External (\PMIO, IntObj)

    /* SLP_TYP of soft-off in the PIIX4's PMCNTRL. */
    Name (\_S5, Package () { 0, 0, 0, 0 })

    Scope (\_PR)
    {
        Processor (CPU0, 0, 0, 0) {}
    }

    Scope (\_SB)
    {
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A03"))
            Name (_UID, 0)
            Name (_BBN, 0)

            Name (CRES, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0, 0, 0xff, 0, 0x100)
                IO (Decode16, 0xcf8, 0xcf8, 1, 8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, 0, 0, 0xcf7, 0, 0xcf8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, 0, 0xd00, 0xffff, 0, 0xf300)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite,
                             0, 0xa0000, 0xbffff, 0, 0x20000)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                             0, 0xc0000000, 0xfebfffff, 0, 0x3ec00000, , , WIN)
            })
            Method (_CRS, 0, Serialized)
            {
                CreateDWordField (CRES, ^WIN._MIN, WMIN)
                CreateDWordField (CRES, ^WIN._MAX, WMAX)
                CreateDWordField (CRES, ^WIN._LEN, WLEN)
                Store (PMLO, WMIN)
                Add (Subtract (WMAX, WMIN), 1, WLEN)
                Return (CRES)
            }

            /* INTx of slot s goes to PIRQ (s - 1 + x) mod 4. Slot 1's INTA is the SCI. */
#define PINS(s, a, b, c, d) \
            Package () { s, 0, a, 0 }, Package () { s, 1, b, 0 }, Package () { s, 2, c, 0 }, Package () { s, 3, d, 0 }
            Name (_PRT, Package ()
            {
                PINS (0x0001ffff, LNKS, LNKB, LNKC, LNKD),
                PINS (0x0002ffff, LNKB, LNKC, LNKD, LNKA),
                PINS (0x0003ffff, LNKC, LNKD, LNKA, LNKB),
                PINS (0x0004ffff, LNKD, LNKA, LNKB, LNKC),
                PINS (0x0005ffff, LNKA, LNKB, LNKC, LNKD),
                PINS (0x0006ffff, LNKB, LNKC, LNKD, LNKA),
                PINS (0x0007ffff, LNKC, LNKD, LNKA, LNKB),
                PINS (0x0008ffff, LNKD, LNKA, LNKB, LNKC),
                PINS (0x0009ffff, LNKA, LNKB, LNKC, LNKD),
                PINS (0x000affff, LNKB, LNKC, LNKD, LNKA),
                PINS (0x000bffff, LNKC, LNKD, LNKA, LNKB),
                PINS (0x000cffff, LNKD, LNKA, LNKB, LNKC),
                PINS (0x000dffff, LNKA, LNKB, LNKC, LNKD),
                PINS (0x000effff, LNKB, LNKC, LNKD, LNKA),
                PINS (0x000fffff, LNKC, LNKD, LNKA, LNKB),
                PINS (0x0010ffff, LNKD, LNKA, LNKB, LNKC),
                PINS (0x0011ffff, LNKA, LNKB, LNKC, LNKD),
                PINS (0x0012ffff, LNKB, LNKC, LNKD, LNKA),
                PINS (0x0013ffff, LNKC, LNKD, LNKA, LNKB),
                PINS (0x0014ffff, LNKD, LNKA, LNKB, LNKC),
                PINS (0x0015ffff, LNKA, LNKB, LNKC, LNKD),
                PINS (0x0016ffff, LNKB, LNKC, LNKD, LNKA),
                PINS (0x0017ffff, LNKC, LNKD, LNKA, LNKB),
                PINS (0x0018ffff, LNKD, LNKA, LNKB, LNKC),
                PINS (0x0019ffff, LNKA, LNKB, LNKC, LNKD),
                PINS (0x001affff, LNKB, LNKC, LNKD, LNKA),
                PINS (0x001bffff, LNKC, LNKD, LNKA, LNKB),
                PINS (0x001cffff, LNKD, LNKA, LNKB, LNKC),
                PINS (0x001dffff, LNKA, LNKB, LNKC, LNKD),
                PINS (0x001effff, LNKB, LNKC, LNKD, LNKA),
                PINS (0x001fffff, LNKC, LNKD, LNKA, LNKB),
            })

            Device (ISA)
            {
                Name (_ADR, 0x00010000)
                OperationRegion (PIRQ, PCI_Config, 0x60, 4)
                Field (PIRQ, ByteAcc, NoLock, Preserve) { PRQ0, 8, PRQ1, 8, PRQ2, 8, PRQ3, 8 }

                Device (RTC)
                {
                    Name (_HID, EisaId ("PNP0B00"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x70, 0x70, 1, 2)
                        IRQNoFlags () { 8 }
                    })
                }
                Device (TIMR)
                {
                    Name (_HID, EisaId ("PNP0100"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x40, 0x40, 1, 4)
                        IRQNoFlags () { 0 }
                    })
                }
                Device (PIC)
                {
                    Name (_HID, EisaId ("PNP0000"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x20, 0x20, 1, 2)
                        IO (Decode16, 0xa0, 0xa0, 1, 2)
                        IO (Decode16, 0x4d0, 0x4d0, 1, 2)
                        IRQNoFlags () { 2 }
                    })
                }
                Device (DMAC)
                {
                    Name (_HID, EisaId ("PNP0200"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x00, 0x00, 1, 0x10)
                        IO (Decode16, 0x80, 0x80, 1, 0x10)
                        IO (Decode16, 0xc0, 0xc0, 1, 0x20)
                        DMA (Compatibility, BusMaster, Transfer8_16) { 4 }
                    })
                }
                Device (SPKR)
                {
                    Name (_HID, EisaId ("PNP0800"))
                    Name (_CRS, ResourceTemplate () { IO (Decode16, 0x61, 0x61, 1, 1) })
                }
                Device (FPU)
                {
                    Name (_HID, EisaId ("PNP0C04"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0xf0, 0xf0, 1, 2)
                        IRQNoFlags () { 13 }
                    })
                }
                Device (KBD)
                {
                    Name (_HID, EisaId ("PNP0303"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x60, 0x60, 1, 1)
                        IO (Decode16, 0x64, 0x64, 1, 1)
                        IRQNoFlags () { 1 }
                    })
                }
                Device (MOU)
                {
                    Name (_HID, EisaId ("PNP0F13"))
                    Name (_CRS, ResourceTemplate () { IRQNoFlags () { 12 } })
                }
                Device (COM1)
                {
                    Name (_HID, EisaId ("PNP0501"))
                    Name (_UID, 1)
                    Method (_STA, 0) { If (And (NCOM, 1)) { Return (15) } Return (0) }
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x3f8, 0x3f8, 1, 8)
                        IRQNoFlags () { 4 }
                    })
                }
                Device (COM2)
                {
                    Name (_HID, EisaId ("PNP0501"))
                    Name (_UID, 2)
                    Method (_STA, 0) { If (And (NCOM, 2)) { Return (15) } Return (0) }
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x2f8, 0x2f8, 1, 8)
                        IRQNoFlags () { 3 }
                    })
                }
                Device (LPT1)
                {
                    Name (_HID, EisaId ("PNP0400"))
                    Name (_UID, 1)
                    Method (_STA, 0) { If (NLPT) { Return (15) } Return (0) }
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x378, 0x378, 8, 8)
                        IRQNoFlags () { 7 }
                    })
                }
                Device (FDC0)
                {
                    Name (_HID, EisaId ("PNP0700"))
                    Method (_STA, 0) { If (NFDC) { Return (15) } Return (0) }
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x3f2, 0x3f2, 0, 4)
                        IO (Decode16, 0x3f7, 0x3f7, 0, 1)
                        IRQNoFlags () { 6 }
                        DMA (Compatibility, NotBusMaster, Transfer8) { 2 }
                    })
                    Name (FDEB, Buffer (20) {})
                    Method (_FDE, 0, Serialized)
                    {
                        CreateDWordField (FDEB, 0, DRVA)
                        CreateDWordField (FDEB, 4, DRVB)
                        CreateDWordField (FDEB, 16, TAPE)
                        Store (And (NFDC, 1), DRVA)
                        Store (And (ShiftRight (NFDC, 1), 1), DRVB)
                        Store (2, TAPE) /* none */
                        Return (FDEB)
                    }
                }
                /* Ports of the board itself, so that nobody puts anything else there. */
                Device (MBRD)
                {
                    Name (_HID, EisaId ("PNP0C02"))
                    Name (_UID, 1)
                    Name (MRES, ResourceTemplate ()
                    {
                        IO (Decode16, 0x92, 0x92, 1, 1)
                        IO (Decode16, 0xb2, 0xb2, 1, 2)
                        IO (Decode16, 0x600, 0x600, 1, 0x40, PMR)
                    })
                    Method (_CRS, 0, Serialized)
                    {
                        CreateWordField (MRES, ^PMR._MIN, PMIN)
                        CreateWordField (MRES, ^PMR._MAX, PMAX)
                        Store (PMIO, PMIN)
                        Store (PMIO, PMAX)
                        Return (MRES)
                    }
                }
            }
        }

        /* A PIRQ register: bit 7 is "routed nowhere". */
        Name (PIRS, ResourceTemplate ()
        {
            Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { 5, 10, 11 }
        })
        Name (ICRS, ResourceTemplate ()
        {
            Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { 0 }
        })
        Method (LSTA, 1)
        {
            If (And (Arg0, 0x80)) { Return (9) }
            Return (11)
        }
        Method (LCRS, 1, Serialized)
        {
            CreateDWordField (ICRS, 5, NUM)
            If (And (Arg0, 0x80)) { Store (0, NUM) }
            Else { Store (And (Arg0, 15), NUM) }
            Return (ICRS)
        }

#define LINK(name, uid, reg) \
        Device (name) \
        { \
            Name (_HID, EisaId ("PNP0C0F")) \
            Name (_UID, uid) \
            Method (_STA, 0) { Return (LSTA (reg)) } \
            Method (_PRS, 0) { Return (PIRS) } \
            Method (_DIS, 0) { Or (reg, 0x80, reg) } \
            Method (_CRS, 0) { Return (LCRS (reg)) } \
            Method (_SRS, 1) { CreateDWordField (Arg0, 5, NUM) Store (NUM, reg) } \
        }
        LINK (LNKA, 1, \_SB.PCI0.ISA.PRQ0)
        LINK (LNKB, 2, \_SB.PCI0.ISA.PRQ1)
        LINK (LNKC, 3, \_SB.PCI0.ISA.PRQ2)
        LINK (LNKD, 4, \_SB.PCI0.ISA.PRQ3)

        /* The SCI, which is wired. */
        Device (LNKS)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 5)
            Name (_STA, 11)
            Name (SRES, ResourceTemplate ()
            {
                Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { 9 }
            })
            Method (_PRS, 0) { Return (SRES) }
            Method (_CRS, 0) { Return (SRES) }
            Method (_DIS, 0) {}
            Method (_SRS, 1) {}
        }
    }
}
