package quorum

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/partlog/partlog/internal/journal"
	"github.com/partlog/partlog/internal/vfs"
)

// DumpOptions say what Dump shows. The zero value is everything, with the data of entries as lengths.
type DumpOptions struct {
	// First and Last bound the indexes of the entries shown. 0: no bound.
	First, Last uint64
	// Entry returns an entry's data in words, and whether to show the entry. nil: its length.
	Entry func(index uint64, data []byte) (words string, show bool)
	// State returns a snapshot's state in lines. nil: its length.
	State func(state []byte) []string
}

// Dump writes what the directory of a quorum holds, in lines: the newest image with its snapshot, members and entries, every
// record of the journal after it, and what recovery would find wrong. It changes nothing, and may be called while the quorum is
// open, in this process or another. A log that Open would refuse is shown as far as it can be read; the error says why.
func Dump(w io.Writer, fs vfs.FS, dir string, o DumpOptions) error {
	if fs == nil {
		fs = vfs.OS
	}
	p := &printer{w: w, o: o}
	j, report, err := journal.Open(journal.Options{
		FS: fs, Dir: dir, ReadOnly: true,
		Snapshot: p.image,
		Replay:   p.record,
	})
	if j != nil {
		err = errors.Join(err, j.Close())
	}
	if report != nil {
		p.line("journal entries %d-%d, snapshot %d", report.First, report.Last, report.Snapshot)
		for _, f := range report.Findings {
			p.line("finding %s %s position %d bytes %d %s", f.Kind, f.Path, f.Position, f.Bytes, f.Detail)
		}
	}
	if err != nil {
		p.line("error %v", err)
	}
	return errors.Join(err, p.err)
}

type printer struct {
	w   io.Writer
	o   DumpOptions
	log raftLog
	err error
}

func (p *printer) line(format string, a ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", a...)
	}
}

func (p *printer) image(b []byte) error {
	if err := p.log.restore(b); err != nil {
		return err
	}
	m := &p.log.image
	p.line("image generation %d member %s lineage %016x term %d vote %s commit %d", m.generation, m.self, m.lineage,
		m.hard.term, nameOf(m.hard.vote), m.hard.commit)
	p.line("snapshot %d term %d voters %v observers %v state %d bytes", m.snapshot.index, m.snapshot.term,
		membersOf(m.snapshot.conf.GetVoters()), membersOf(m.snapshot.conf.GetLearners()), len(m.snapshot.data))
	if p.o.State != nil {
		for _, line := range p.o.State(m.snapshot.data) {
			p.line("  state %s", line)
		}
	}
	p.entries(m.entries)
	return nil
}

func (p *printer) record(e journal.Entry) error {
	switch e.Kind {
	case kindReady:
		r, err := decodeReady(e.Payload)
		if err != nil {
			p.line("record %d error %v", e.Index, err)
			return nil
		}
		p.line("record %d ready term %d vote %s commit %d", e.Index, r.hard.term, nameOf(r.hard.vote), r.hard.commit)
		p.entries(r.entries)
	case kindBase:
		generation, err := decodeBase(e.Payload)
		if err != nil {
			p.line("record %d error %v", e.Index, err)
			return nil
		}
		p.line("record %d base generation %d", e.Index, generation)
	case kindNote:
		p.line("record %d note %q", e.Index, e.Payload)
	case kindLost:
		p.line("record %d lost %q", e.Index, e.Payload)
		return nil
	default:
		p.line("record %d kind %d of %d bytes", e.Index, e.Kind, len(e.Payload))
	}
	if err := p.log.replay(e); err != nil {
		p.line("record %d error %v", e.Index, err)
	}
	return nil
}

func (p *printer) entries(list []*raftpb.Entry) {
	for _, e := range list {
		index := e.GetIndex()
		if index < p.o.First || p.o.Last > 0 && index > p.o.Last {
			continue
		}
		words := strconv.Itoa(len(e.GetData())) + " bytes"
		if e.GetType() != raftpb.EntryNormal {
			words = "not a change of members"
			if change, err := decodeChange(e); err == nil {
				words = change.String()
			}
		} else if p.o.Entry != nil {
			show := true
			if words, show = p.o.Entry(index, e.GetData()); !show {
				continue
			}
		}
		p.line("  entry %d term %d %s", index, e.GetTerm(), words)
	}
}
