package log

import (
	"errors"
	"path/filepath"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
)

// Open opens or makes the log in c.Dir. After a clean close it lists the directory and opens no file; otherwise it recovers first, and
// the report says what it found. The report is nil only with an error. Damage is no error: what can be served is.
//
// Errors: ErrForeign when the directory is another topic's; those of the file system.
func Open(c Config) (*Log, *RecoveryReport, error) {
	if c.FS == nil {
		return nil, nil, errors.New("log: Config.FS is nil")
	}
	if c.Clock == nil {
		c.Clock = clock.System
	}
	l := &Log{config: c, clock: c.Clock, epoch: c.LeaderEpoch}
	l.leases.clock = c.Clock
	l.writer.epoch = batch.None
	l.unstable.Store(int64(noOffset))
	l.nextStable.Store(int64(noOffset))
	l.cleaner.cleaned.Store(int64(c.Cleaned))
	settings := c.Settings.withDefaults()
	l.settings.Store(&settings)
	l.setSegmentsLocked(nil)
	l.report = RecoveryReport{Topic: c.Topic, Partition: c.Partition, Clean: c.Clean, RecoveryPoint: c.RecoveryPoint}
	begun := c.Clock.Now()
	d, err := l.list()
	if err != nil {
		return nil, nil, err
	}
	if d, err = l.recoverSwaps(d); err != nil {
		return nil, nil, err
	}
	now := c.Clock.Now()
	l.clockGuard.believe(c.Clock, now)
	seen := milliseconds(now)
	for _, s := range d.segments {
		s.seen = seen
	}
	if c.Clean {
		err = l.openClean(d)
	} else {
		err = l.recover(d)
	}
	if err != nil {
		l.Abandon()
		return nil, nil, err
	}
	if l.Cleaned() > l.End() {
		l.cleaner.cleaned.Store(int64(l.Start())) // its records were lost, and others will have their offsets
	}
	if !c.LazyCreate && !c.ReadOnly && len(d.segments) == 0 {
		if err := l.prepareDir(); err != nil {
			return nil, nil, err
		}
	}
	l.mu.Lock()
	l.report.Start, l.report.End, l.report.Duration = l.Start(), l.next, c.Clock.Now().Sub(begun)
	l.mu.Unlock()
	report := l.Report()
	return l, &report, nil
}

// openClean believes the directory as it is listed.
func (l *Log) openClean(d listing) error {
	c := &l.config
	end := max(c.CleanEnd, c.LogStart, 0)
	start := max(c.LogStart, 0)
	if n := len(d.segments); n > 0 {
		end = max(end, d.segments[n-1].base)
		if first := d.segments[0].base; c.CleanEnd < 0 {
			start = max(start, first)
		} else if first > start {
			l.find(Finding{Kind: MissingSegment, Path: l.logPath(d.segments[0]), Offset: start, NextOffset: first, Action: ActionQuarantined, Detail: errMissing.Error()})
		}
	} else {
		if end > start {
			l.find(Finding{Kind: MissingSegment, Path: c.Dir, Offset: start, NextOffset: end, Action: ActionNone, Detail: "no segment is there"})
		}
		start = end
	}
	l.setEnds(start, end)
	l.setSegmentsLocked(d.segments)
	if len(d.orphans)+len(d.temporary)+len(d.deleted) > 0 {
		l.sweep(d, end)
	}
	if n := len(d.segments); n > 0 && c.CleanEnd < 0 {
		return l.ensure(d.segments[n-1])
	}
	return nil
}

// setEnds has all offsets agree that the log is [start, end), written and synced.
func (l *Log) setEnds(start, end Offset) {
	start = min(start, end)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = end
	l.start.Store(int64(start))
	l.written.Store(int64(end))
	l.durable.Store(int64(end))
	if l.config.Replicated {
		end = max(start, min(l.config.HighWatermark, end))
	}
	l.visible.Store(int64(end))
}

// Delete removes a partition's directory and all that is in it. The log must be closed.
func Delete(fsys vfs.FS, dir string) error {
	if err := fsys.RemoveAll(dir); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(dir))
}
