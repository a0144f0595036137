package replicationtest

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"

	"github.com/partlog/partlog/internal/control"
)

// epochFile has who the node has registered as, in which epoch, and in which boot of the machine.
const epochFile = "/epoch"

// registration is what epochFile has. It is written before the registration is sent, and again when it is confirmed: a process that was killed between
// the two does not know whether it is registered, and has done nothing under it; the next one goes on as the same incarnation.
type registration struct {
	Incarnation [16]byte
	Epoch       int64 // of the last one confirmed
	Boot        uint64
	Survives    bool // a loss of power
	Confirmed   bool
}

// readEpoch finds out whether anything may be missing of what was written in the life before: it is only if power was lost meanwhile and not
// everything is synced, or if a log had failed.
func (l *life) readEpoch() {
	binary.BigEndian.PutUint64(l.incarnation[:], uint64(l.id)+1)
	binary.BigEndian.PutUint64(l.incarnation[8:], l.number)
	f, err := l.disk.FS().OpenFile(epochFile, os.O_RDONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	b := make([]byte, binary.Size(registration{}))
	var r registration
	if _, err := f.ReadAt(b, 0); err != nil {
		return
	}
	if _, err := binary.Decode(b, binary.BigEndian, &r); err != nil || r.Boot != l.boots && !r.Survives {
		return
	}
	l.previous = r.Epoch
	if !r.Confirmed {
		l.incarnation = r.Incarnation
	}
}

// writeEpoch notes the registration.
func (l *life) writeEpoch(epoch int64, confirmed bool) {
	if l.anyFailed() {
		return
	}
	r := registration{Incarnation: l.incarnation, Epoch: epoch, Boot: l.boots, Survives: l.c.survivesPower(), Confirmed: confirmed}
	b, err := binary.Append(nil, binary.BigEndian, r)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	fsys := l.disk.FS()
	f, err := fsys.OpenFile(epochFile, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		_, err = f.WriteAt(b, 0)
		err = errors.Join(err, f.Sync(), f.Close(), fsys.SyncDir("/"))
	}
	if err != nil {
		l.removeEpoch()
		return
	}
	l.node.unsure = epoch == control.NoEpoch // before the answer, of one whose registration before is not known
}

// removeEpoch makes this life one that did not end cleanly.
func (l *life) removeEpoch() {
	l.node.unsure = true
	if err := l.disk.FS().Remove(epochFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.fail("cannot remove %s: %v", epochFile, err)
		return
	}
	_ = l.disk.FS().SyncDir("/") // if it fails, so does whatever else is to be written
}
