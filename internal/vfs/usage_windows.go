package vfs

import (
	"path/filepath"
	"strings"

	"golang.org/x/sys/windows"
)

func (osFS) Usage(name string) (Usage, error) {
	full, err := filepath.Abs(name)
	if err != nil {
		return Usage{}, pathError("statfs", name, err)
	}
	path, err := windows.UTF16PtrFromString(full)
	if err != nil {
		return Usage{}, pathError("statfs", name, err)
	}
	var free, total, all uint64
	if err := windows.GetDiskFreeSpaceEx(path, &free, &total, &all); err != nil {
		return Usage{}, pathError("statfs", name, err)
	}
	u := Usage{Total: int64(total), Free: int64(free), Kind: "windows"}
	var root, kind [windows.MAX_PATH + 1]uint16
	if err := windows.GetVolumePathName(path, &root[0], uint32(len(root))); err != nil {
		return u, nil // the sizes are known, the rest is a courtesy
	}
	u.Network = windows.GetDriveType(&root[0]) == windows.DRIVE_REMOTE
	var flags uint32
	err = windows.GetVolumeInformation(&root[0], nil, 0, nil, nil, &flags, &kind[0], uint32(len(kind)))
	if err == nil {
		u.Kind = strings.ToLower(windows.UTF16ToString(kind[:]))
		u.ReadOnly = flags&windows.FILE_READ_ONLY_VOLUME != 0
	}
	return u, nil
}
