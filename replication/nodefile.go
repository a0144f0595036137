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
	// Incarnation is that of the process which has, or had, the directory open last, noted before it registers. Confirmed says that it has heard
	// its registration's answer. One that has not did nothing under it: the next process takes it over, so that no chain of lost answers makes a
	// node that has everything look like one that may have lost something.
	Incarnation []byte `json:"incarnation"`
	Confirmed   bool   `json:"confirmed"`
	// Unclean: something that was acknowledged may be missing, and the controller may not know it yet.
	Unclean bool  `json:"unclean,omitempty"`
	Epoch   int64 `json:"epoch"` // of the last registration whose answer was heard; -1 before it
	ballot
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
	if n.file.Confirmed && n.file.Epoch == epoch {
		n.mu.Unlock()
		return nil
	}
	f := *n.file
	f.Epoch, f.Confirmed, f.Unclean = epoch, true, false
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

// next is the file of a process that has found f, and opened the store cleanly or not.
func (f nodeFile) next(clean bool, incarnation [16]byte) nodeFile {
	f.Unclean = f.Unclean || !clean
	if f.Confirmed || f.Unclean || len(f.Incarnation) != len(incarnation) {
		f.Incarnation = incarnation[:]
	}
	f.Confirmed = false
	return f
}

// previousEpoch is the epoch under which this node was registered last, if it has all that it acknowledged then; else control.NoEpoch.
func (n *Node) previousEpoch() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.file.Unclean {
		return control.NoEpoch
	}
	return n.file.Epoch
}
