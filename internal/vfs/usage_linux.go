package vfs

import (
	"fmt"

	"golang.org/x/sys/unix"
)

func (osFS) Usage(name string) (Usage, error) {
	var stat unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(name, &stat) }); err != nil {
		return Usage{}, pathError("statfs", name, err)
	}
	unit := int64(stat.Frsize)
	if unit == 0 {
		unit = int64(stat.Bsize)
	}
	u := Usage{
		Total:    int64(stat.Blocks) * unit,
		Free:     int64(stat.Bavail) * unit,
		ReadOnly: stat.Flags&unix.ST_RDONLY != 0,
	}
	u.describe(uint32(stat.Type)) // the field's width and sign differ between architectures
	return u, nil
}

// describe fills in what is known of a file system by its magic number (statfs(2)).
func (u *Usage) describe(magic uint32) {
	known, ok := fileSystems[magic]
	if !ok {
		u.Kind = fmt.Sprintf("%#x", magic)
		return
	}
	u.Kind = known.kind
	u.Network = known.traits&network != 0
	u.Overlay = known.traits&overlay != 0
	u.Volatile = known.traits&volatile != 0
}

const (
	network = 1 << iota
	overlay
	volatile
)

// fileSystems are the ones worth a name. FUSE (virtiofs shares its number) may be anything behind its name, local or
// not; it gets no trait, but a name that a host can act on.
var fileSystems = map[uint32]struct {
	kind   string
	traits int
}{
	0xEF53:     {"ext4", 0}, // ext2 and ext3 too
	0x58465342: {"xfs", 0},
	0x9123683E: {"btrfs", 0},
	0x2FC12FC1: {"zfs", 0},
	0xCA451A4E: {"bcachefs", 0},
	0xF2F52010: {"f2fs", 0},
	0x4D44:     {"vfat", 0},
	0x2011BAB0: {"exfat", 0},
	0x5346544E: {"ntfs", 0},
	0x7366746E: {"ntfs3", 0},
	0x73717368: {"squashfs", 0},
	0x65735546: {"fuse", 0},
	0x61756673: {"aufs", overlay},
	0x794C7630: {"overlay", overlay},
	0x01021994: {"tmpfs", volatile},
	0x858458F6: {"ramfs", volatile},
	0x6969:     {"nfs", network},
	0x517B:     {"smb", network},
	0xFF534D42: {"cifs", network},
	0xFE534D42: {"smb2", network},
	0x00C36400: {"ceph", network},
	0x01021997: {"9p", network},
	0x5346414F: {"afs", network},
	0x73757245: {"coda", network},
	0x01161970: {"gfs2", network},
	0x7461636F: {"ocfs2", network},
	0x0BD00BD0: {"lustre", network},
	0x47504653: {"gpfs", network},
	0x19830326: {"beegfs", network},
}
