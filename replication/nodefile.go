package replication

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/vfs"
)

// nodeFile is what a node keeps beside its store: whose directory this is, and the epoch of its last registration. Losing it costs the node its place in
// the in-sync replicas, no data.
type nodeFile struct {
	Version   int    `json:"version"`
	NodeID    int32  `json:"node"`
	ClusterID string `json:"cluster"`
	Directory []byte `json:"directory"` // 16 bytes (KIP-858)
	// Incarnation is that of the process which has, or had, the directory open last: noted before it registers.
	Incarnation []byte `json:"incarnation"`
	Epoch       int64  `json:"epoch"` // of the last registration; -1 before it
}

// nodeFileName is in Config.Dir, beside lock and journal.
const nodeFileName = "node.json"

// quorumDir is the quorum's, in Config.Dir.
const quorumDir = "quorum"

// readNodeFile returns nil where there is none.
func readNodeFile(fsys vfs.FS, dir string) (*nodeFile, error) {
	name := filepath.Join(dir, nodeFileName)
	b, err := vfs.ReadFile(fsys, name, 64<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	f := &nodeFile{}
	if err == nil {
		err = json.Unmarshal(b, f)
	}
	if err == nil && (f.Version != 1 || len(f.Directory) != 16) {
		err = errors.New("it is of no version that this program knows")
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return f, nil
}

func (f *nodeFile) write(fsys vfs.FS, dir string) error {
	name := filepath.Join(dir, nodeFileName)
	if err := vfs.WriteFileAtomic(fsys, name, mustJSON(f)); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// registered keeps the epoch of a registration, durably: whoever was registered with it and opens cleanly again has all that it ever acknowledged. Until it is
// kept, the node must not serve with it.
func (n *Node) registered(epoch int64) error {
	n.mu.Lock()
	if n.file.Epoch == epoch {
		n.mu.Unlock()
		return nil
	}
	f := *n.file
	f.Epoch, f.ClusterID = epoch, n.clusterID
	n.mu.Unlock()
	if err := f.write(n.fs, n.dir); err != nil {
		return err
	}
	n.mu.Lock()
	n.file = &f
	n.mu.Unlock()
	n.events.Registered(epoch)
	return nil
}

// previous is how this node was registered last, by epoch and by incarnation, if it has all that it acknowledged then; else neither.
func (n *Node) previous() (epoch int64, incarnation [16]byte) {
	if !n.store.CleanOpen() {
		return control.NoEpoch, incarnation
	}
	copy(incarnation[:], n.opened.Incarnation)
	return n.opened.Epoch, incarnation
}

func (n *Node) previousEpoch() int64 {
	epoch, _ := n.previous()
	return epoch
}
