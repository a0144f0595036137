package vfs

import "golang.org/x/sys/unix"

func (osFS) Usage(name string) (Usage, error) {
	var stat unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(name, &stat) }); err != nil {
		return Usage{}, pathError("statfs", name, err)
	}
	kind := unix.ByteSliceToString(stat.Fstypename[:])
	return Usage{
		Total:    int64(stat.Blocks) * int64(stat.Bsize),
		Free:     int64(stat.Bavail) * int64(stat.Bsize),
		Kind:     kind,
		Network:  stat.Flags&unix.MNT_LOCAL == 0,
		ReadOnly: stat.Flags&unix.MNT_RDONLY != 0,
	}, nil
}
