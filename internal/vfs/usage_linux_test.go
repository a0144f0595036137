package vfs

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestFileSystemsAreKnownByTheirMagic(t *testing.T) {
	for magic, want := range map[uint32]Usage{
		unix.EXT4_SUPER_MAGIC:      {Kind: "ext4"},
		unix.XFS_SUPER_MAGIC:       {Kind: "xfs"},
		unix.BTRFS_SUPER_MAGIC:     {Kind: "btrfs"},
		unix.TMPFS_MAGIC:           {Kind: "tmpfs", Volatile: true},
		unix.RAMFS_MAGIC:           {Kind: "ramfs", Volatile: true},
		unix.OVERLAYFS_SUPER_MAGIC: {Kind: "overlay", Overlay: true},
		unix.NFS_SUPER_MAGIC:       {Kind: "nfs", Network: true},
		unix.CIFS_SUPER_MAGIC:      {Kind: "cifs", Network: true},
		unix.SMB2_SUPER_MAGIC:      {Kind: "smb2", Network: true},
		unix.CEPH_SUPER_MAGIC:      {Kind: "ceph", Network: true},
		unix.V9FS_MAGIC:            {Kind: "9p", Network: true},
		unix.FUSE_SUPER_MAGIC:      {Kind: "fuse"},
		unix.EXFAT_SUPER_MAGIC:     {Kind: "exfat"},
		unix.F2FS_SUPER_MAGIC:      {Kind: "f2fs"},
		0x1234:                     {Kind: "0x1234"},
	} {
		var u Usage
		u.describe(magic)
		require.Equal(t, want, u)
	}
}
