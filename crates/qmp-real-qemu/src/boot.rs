//! Guests of a few instructions: the boot sector of a floppy disk, in real mode.

/// Bytes of a boot sector before its signature.
const CODE_MAX: usize = 510;

/// Bytes of a floppy disk of 1.44 MB.
const FLOPPY_BYTES: usize = 1_440 << 10;

/// The instructions of a guest, in order; it halts at the end.
///
/// Every reset restarts it, so that a guest that resets the machine does so forever.
#[derive(Clone, Copy, Debug)]
pub struct Boot {
    code: [u8; CODE_MAX],
    length: u16,
}

impl Boot {
    /// Creates a guest without instructions.
    #[must_use]
    pub const fn new() -> Self {
        Self { code: [0; CODE_MAX], length: 0 }
    }

    /// Writes a byte to a port.
    #[must_use]
    pub const fn out(self, port: u16, value: u8) -> Self {
        let [low, high] = port.to_le_bytes();
        // mov dx, port; mov al, value; out dx, al
        self.then(&[0xba, low, high, 0xb0, value, 0xee])
    }

    /// Writes two bytes to a port.
    #[must_use]
    pub const fn out_word(self, port: u16, value: u16) -> Self {
        let [low, high] = port.to_le_bytes();
        let [value_low, value_high] = value.to_le_bytes();
        // mov dx, port; mov ax, value; out dx, ax
        self.then(&[0xba, low, high, 0xb8, value_low, value_high, 0xef])
    }

    /// Enters a sleep state: the ACPI sleep type of the PC's firmware is 0 for S5, 1 for S3, 2 for S4.
    #[must_use]
    pub const fn sleep(self, sleep_type: u16) -> Self {
        // PM1a_CNT, with SLP_EN (bit 13) and SLP_TYP (bits 10 to 12).
        self.out_word(0x604, 0x2000 | sleep_type << 10)
    }

    /// Sets a byte of the CMOS clock.
    #[must_use]
    pub const fn cmos(self, index: u8, value: u8) -> Self {
        self.out(0x70, index).out(0x71, value)
    }

    /// Reads sector 2 of the first hard disk through the firmware (interrupt 0x13, function 2).
    #[must_use]
    pub const fn read_disk(self) -> Self {
        self.disk(0x02)
    }

    /// Writes sector 2 of the first hard disk through the firmware (interrupt 0x13, function 3).
    #[must_use]
    pub const fn write_disk(self) -> Self {
        self.disk(0x03)
    }

    const fn disk(self, function: u8) -> Self {
        // xor ax, ax; mov es, ax; mov bx, 0x8000; mov cx, 2; mov dx, 0x80; mov ax, function << 8 | 1; int 0x13
        self.then(&[0x31, 0xc0, 0x8e, 0xc0, 0xbb, 0x00, 0x80, 0xb9, 0x02, 0x00, 0xba, 0x80, 0x00])
            .then(&[0xb8, 0x01, function, 0xcd, 0x13])
    }

    /// Waits `ticks` ticks of the firmware's clock, 55 ms each (interrupt 0x1a, function 0).
    #[must_use]
    pub const fn wait(self, ticks: u8) -> Self {
        // mov ah, 0; int 0x1a; mov bx, dx
        self.then(&[0xb4, 0x00, 0xcd, 0x1a, 0x89, 0xd3])
            // again: mov ah, 0; int 0x1a; sub dx, bx; cmp dx, ticks; jb again
            .then(&[0xb4, 0x00, 0xcd, 0x1a, 0x29, 0xda, 0x83, 0xfa, ticks, 0x72, 0xf5])
    }

    /// Adds instructions as bytes.
    #[must_use]
    pub const fn then(mut self, code: &[u8]) -> Self {
        let mut index = 0;
        while index < code.len() {
            self.code[self.length as usize] = code[index];
            self.length += 1;
            index += 1;
        }
        self
    }

    /// Repeats all previous instructions forever.
    #[must_use]
    pub const fn forever(self) -> Self {
        let back = (self.length + 3).wrapping_neg().to_le_bytes();
        // jmp start
        self.then(&[0xe9, back[0], back[1]])
    }

    /// Returns the floppy disk.
    #[must_use]
    pub fn floppy(self) -> Vec<u8> {
        // hlt; jmp $-1
        let halting = self.then(&[0xf4, 0xeb, 0xfd]);
        let mut image = vec![0; FLOPPY_BYTES];
        image[..CODE_MAX].copy_from_slice(&halting.code);
        image[CODE_MAX..CODE_MAX + 2].copy_from_slice(&[0x55, 0xaa]);
        image
    }
}

impl Default for Boot {
    fn default() -> Self {
        Self::new()
    }
}
