package replicationtest

import (
	"encoding/binary"
	"os"
	"time"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/simulate"
)

// directoryFile has the id of a node's directory (KIP-858).
const directoryFile = "/directory"

// readDirectory reads the id of the directory, or gives it one.
func (l *life) readDirectory() {
	fsys := l.disk.FS()
	f, err := fsys.OpenFile(directoryFile, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		l.fail("directory: %v", err)
		return
	}
	defer f.Close()
	if n, _ := f.ReadAt(l.directory[:], 0); n == len(l.directory) {
		return
	}
	binary.BigEndian.PutUint64(l.directory[:], l.rng.Uint64())
	binary.BigEndian.PutUint64(l.directory[8:], uint64(l.id)+1)
	if _, err = f.WriteAt(l.directory[:], 0); err == nil {
		if err = f.Sync(); err == nil {
			err = fsys.SyncDir("/")
		}
	}
	if err != nil {
		l.fail("directory: %v", err)
	}
}

// impostor has a second process register: with the id of a node, with or without a copy of its directory, or with a copy and an id that is free. It asks several times, as
// a process does, and does nothing with what it is told. While the node lives it is refused; if it is not, the node is fenced by its epoch, and comes back as one
// that may have lost everything.
func (c *cluster) impostor(n *node, a simulate.Action) {
	if c.newest == nil || n.life == nil || n.going || !c.mayLose(n) {
		return
	}
	r := control.Register{ID: n.id, Addr: "impostor", MinFeature: control.MinLevel, MaxFeature: control.MaxLevel, PreviousEpoch: control.NoEpoch, Replaces: control.NoEpoch}
	binary.BigEndian.PutUint64(r.Incarnation[:], a.Draw|1)
	binary.BigEndian.PutUint64(r.DirectoryID[:], a.Draw|1)
	if a.Draw>>8%2 == 0 {
		r.DirectoryID = n.life.directory
	}
	if a.Kind == "copied-directory" {
		r.ID, r.DirectoryID = control.NodeID(len(c.nodes)), n.life.directory
	}
	tries := 0
	var try func()
	try = func() {
		leads := c.controller()
		if tries++; tries > 5 || leads == nil || c.healed || n.life == nil || !c.mayLose(n) {
			return
		}
		leads.do(func(l *life) {
			if !c.mayLose(n) {
				return // it was paused, and has let another in meanwhile
			}
			l.woken()
			admitted, code := l.watch.Admit(l.now(), r)
			if tries == 1 {
				c.counts.Add(a.Kind, 1)
				c.trace.Say("fault", "%s", a)
			}
			if code != control.OK {
				c.seen.Add("second process refused", 1)
				c.sched.After(2*time.Second, try)
				return
			}
			if admitted.Replaces != control.NoEpoch {
				n.lossy = true // for the controller: until the first has registered again
			}
			l.propose(admitted, func(result control.Result, known bool) {
				switch {
				case !known:
					c.forget(r.ID) // it may be registered, all the same
				case result.Code == control.OK:
					c.seen.Add("second process has taken the place of the first", 1)
					c.forget(r.ID)
				default:
					c.seen.Add("second process refused", 1)
				}
			})
		})
	}
	try()
}

// forget has an operator unregister an id that is no node's, whose registration keeps the owner of its directory out.
func (c *cluster) forget(id control.NodeID) {
	if int(id) < len(c.nodes) {
		return
	}
	c.sched.After(10*time.Second, func() {
		if c.newest == nil || c.ended {
			return
		}
		if _, known := c.newest.Node(id); known {
			c.propose(control.Unregister{ID: id})
			c.forget(id)
		}
	})
}

// oneProcess checks a registration: one directory is one node's, and no process of a node takes the place of another that lives and is heard.
func (c *cluster) oneProcess(l *life, r control.Register, epoch int64) {
	if _, known := c.applied[uint64(epoch)]; known {
		return
	}
	for _, n := range l.ctl.Nodes() {
		if n.ID != r.ID && n.DirectoryID == r.DirectoryID {
			c.findings.Report(simulate.TwoProcesses, "nodes %d and %d are registered with one directory", n.ID, r.ID)
		}
	}
	if int(r.ID) >= len(c.nodes) {
		return
	}
	if first := c.nodes[r.ID].life; first != nil && first.incarnation != r.Incarnation && !first.leaving &&
		first.lifecycle.Until(first.now()) > first.now()+c.session/10 {
		c.findings.Report(simulate.TwoProcesses, "another process is registered as %s, which lives and has been heard", first.name)
	}
}
