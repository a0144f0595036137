package log

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

// VerifyReport is what Verify found, machine readable.
type VerifyReport struct {
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Dir       string    `json:"dir"`
	Start     Offset    `json:"start"`
	End       Offset    `json:"end"`
	Segments  int       `json:"segments"`
	Batches   int64     `json:"batches"`
	Records   int64     `json:"records"`
	Bytes     int64     `json:"bytes"`
	Findings  []Finding `json:"findings,omitempty"`
	// Damaged says that records, or files that are not caches of them, are not as they were written. A finding about an index, a
	// snapshot, a checkpoint, a sidecar or a file that is not ours is no damage: those are made again or left alone.
	Damaged bool `json:"damaged"`
}

// VerifyOptions say what an offline Verify may take as known.
type VerifyOptions struct {
	Topic     string
	Partition int32
	TopicID   [16]byte // zero: unknown
	Compacted bool     // gaps between offsets are lawful
	Start     Offset   // records below it are not expected to be there, those from it on are; -1 unknown
	End       Offset   // records up to it must be there; -1 unknown
	Live      bool     // somebody is writing: an unfinished tail is no damage
}

// Verify reads every file of the log and checks all that can be: every batch down to its records, their order, the indexes, sums,
// snapshots and checkpoints. Appends and reads go on meanwhile; what is appended meanwhile is not looked at. In a replicated log damage that is found is
// known from then on (Log.Damage). The error is ctx's or the file system's.
func (l *Log) Verify(ctx context.Context) (*VerifyReport, error) {
	if l.closed.Load() {
		return nil, ErrClosed
	}
	v := &verifier{Log: l, ctx: ctx, end: l.extent()}
	v.report = &VerifyReport{Topic: l.config.Topic, Partition: l.config.Partition, Dir: l.config.Dir, Start: l.Start(), End: v.end}
	list := l.segmentList()
	for i, s := range list {
		size := int64(-1)
		if i == len(list)-1 {
			if err := l.ensure(s); err != nil {
				return nil, err
			}
			_, size = s.end() // the rest is being written
		}
		before := len(v.report.Findings)
		if err := v.segment(s, size, i == len(list)-1); err != nil {
			if s.removed.Load() {
				continue // retention has come first
			}
			return nil, err
		}
		if err := l.knowDamage(s, v.report, before); err != nil {
			return nil, err
		}
	}
	v.finish(list)
	return v.report, v.files()
}

// knowDamage has what was found in a segment of a replicated log quarantined, so that it can be mended.
func (l *Log) knowDamage(s *logSegment, r *VerifyReport, before int) error {
	if !l.config.Replicated || !r.Damaged || len(r.Findings) == before {
		return nil
	}
	err := l.ensure(s)
	if err == nil {
		err = l.examine(s)
	}
	if errors.Is(err, errReplaced) {
		return nil
	}
	return err
}

// VerifyDir checks a partition's directory without opening it as a log. It changes nothing, and needs no lock.
func VerifyDir(ctx context.Context, fsys vfs.FS, dir string, o VerifyOptions) (*VerifyReport, error) {
	l := &Log{config: Config{FS: fsys, Dir: dir, Topic: o.Topic, Partition: o.Partition, TopicID: o.TopicID, ReadOnly: true}}
	settings := Settings{Compacted: o.Compacted}.withDefaults()
	l.settings.Store(&settings)
	d, err := l.list()
	if err != nil {
		return nil, err
	}
	if d, err = l.recoverSwaps(d); err != nil {
		return nil, err
	}
	l.setSegmentsLocked(d.segments)
	v := &verifier{Log: l, ctx: ctx, end: o.End, live: o.Live, offline: true}
	v.report = &VerifyReport{Topic: o.Topic, Partition: o.Partition, Dir: dir, Start: o.Start}
	if len(d.segments) > 0 && o.Start < 0 {
		v.report.Start = d.segments[0].base
	}
	for i, s := range d.segments {
		if err := v.segment(s, -1, i == len(d.segments)-1); err != nil {
			if errors.Is(err, fs.ErrNotExist) && o.Live {
				continue
			}
			return nil, err
		}
	}
	v.finish(d.segments)
	if v.report.End = max(v.next, o.Start); len(d.segments) == 0 {
		v.report.End = max(o.End, o.Start)
	}
	for _, name := range d.foreign {
		v.add(Finding{Kind: Foreign, Path: l.path(name), Action: ActionNone}, false)
	}
	return v.report, v.files()
}

// verifier is one run of Verify.
type verifier struct {
	*Log
	ctx     context.Context //nolint:containedctx // of one call
	report  *VerifyReport
	end     Offset // records up to it must be there; -1 unknown
	live    bool
	offline bool
	next    Offset // after the last good batch so far
	begun   bool
	epochs  segment.Epochs // as the batches say
	txns    verifyTxns
}

func (v *verifier) add(f Finding, damage bool) {
	if f.Action == "" {
		f.Action = ActionNone
	}
	v.report.Findings = append(v.report.Findings, f)
	v.report.Damaged = v.report.Damaged || damage
}

// finish compares the end with what should be there.
func (v *verifier) finish(list []*logSegment) {
	start := v.report.Start
	if len(list) == 0 && v.end > start {
		v.add(Finding{Kind: MissingSegment, Path: v.config.Dir, Offset: start, NextOffset: v.end, Detail: "no segment is there"}, true)
	} else if len(list) > 0 && max(v.next, start) < v.end {
		last := list[len(list)-1]
		v.add(Finding{Kind: MissingSegment, Path: v.logPath(last), Offset: max(v.next, start), NextOffset: v.end, Detail: errMissing.Error()}, true)
	}
}

// files checks what belongs to no segment.
func (v *verifier) files() error {
	c := &v.config
	id, err := segment.ReadPartitionMetadata(c.FS, c.Dir)
	path := v.path(segment.PartitionMetadataName)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		v.add(Finding{Kind: WrongMetadata, Path: path, Detail: err.Error()}, false)
	case c.TopicID != [16]byte{} && id != c.TopicID:
		v.add(Finding{Kind: WrongMetadata, Path: path, Detail: fmt.Sprintf("topic id is %s, not %s", segment.FormatUUID(id), segment.FormatUUID(c.TopicID))}, true)
	}
	if v.offline && !v.live {
		if err := v.checkEpochs(); err != nil {
			return err
		}
	}
	d, err := v.list()
	if err != nil {
		return err
	}
	for _, at := range d.snapshots {
		if _, err := segment.ReadSnapshot(c.FS, c.Dir, int64(at)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			v.add(Finding{Kind: WrongSnapshot, Path: v.path(segment.SnapshotName(int64(at))), Offset: at, NextOffset: at, Detail: err.Error()}, false)
		}
	}
	return v.ctx.Err()
}

// checkEpochs compares the epoch checkpoint with the batches.
func (v *verifier) checkEpochs() error {
	path := v.path(segment.EpochCheckpointName)
	epochs, err := segment.ReadEpochs(v.config.FS, v.config.Dir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			v.add(Finding{Kind: WrongEpochs, Path: path, Detail: err.Error()}, false)
		}
		return nil
	}
	for _, e := range v.epochs.Entries() {
		// An epoch may have begun below the first record that is left, and compaction may have removed its first records.
		if got := epochs.At(e.Start); got != e.Epoch && epochs.Len() > 0 {
			v.add(Finding{Kind: WrongEpochs, Path: path, Offset: Offset(e.Start), NextOffset: Offset(e.Start),
				Detail: fmt.Sprintf("epoch %d where the batch has %d", got, e.Epoch)}, false)
		}
	}
	return nil
}
