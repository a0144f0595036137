package replication

import "github.com/partlog/partlog/internal/vfs"

// Formatted says which node of which cluster a directory (Config.Dir) is; ok is false where it is none's, and Start needs Bootstrap or Join. fs is the
// machine's if it is nil. The node may be running.
func Formatted(fs vfs.FS, dir string) (clusterID string, nodeID int32, ok bool, err error) {
	if fs == nil {
		fs = vfs.OS
	}
	f, err := readNodeFile(fs, dir)
	if err != nil || f == nil {
		return "", -1, false, err
	}
	return f.ClusterID, f.NodeID, true, nil
}
