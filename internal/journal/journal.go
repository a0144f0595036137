package journal

import (
	"fmt"
	"io"
	"sync"

	"github.com/partlog/partlog/internal/vfs"
)

// DefaultSegmentBytes is used when Options.SegmentBytes is 0.
const DefaultSegmentBytes = 256 << 10

// Options say where the journal is and who takes what it holds.
type Options struct {
	// FS holds the directory. nil or vfs.OS: a real directory, with tidwall/wal; any other: the one-file storage.
	FS vfs.FS
	// Dir is the journal's own directory; made if it is not there. Its parent must exist.
	Dir string
	// SegmentBytes is after how many bytes tidwall/wal starts a new file, and after how many the mark is written.
	// 0: DefaultSegmentBytes.
	SegmentBytes int64
	// ReadOnly opens beside a live process: takes no lock and writes nothing. What a repair would change is reported
	// with ActionNone.
	ReadOnly bool
	// Salvage opens in spite of a *CorruptError, with the newest intact snapshot and the entries that continue it without a
	// gap. The rest is set aside, never deleted, and Recovery.Lossy is set. It is a person's decision, not a default.
	Salvage bool
	// Snapshot is called at most once, before Replay, with the newest intact snapshot. The bytes may be kept. nil ignores it.
	Snapshot func(state []byte) error
	// Replay is called for every entry after the snapshot, in order. nil ignores them.
	Replay func(Entry) error
}

// Entry is one change as it is replayed. Payload may be kept.
type Entry struct {
	Index   uint64
	Kind    uint8
	Payload []byte
}

// Stats are counters since Open, and sizes as they are now.
type Stats struct {
	First         uint64 `json:"first"`         // index of the first entry on disk
	Last          uint64 `json:"last"`          // index of the last entry; 0 when there never was one
	Snapshot      uint64 `json:"snapshot"`      // index of the newest snapshot; 0 when there is none
	SnapshotBytes int64  `json:"snapshotBytes"` // its size
	ReplayBytes   int64  `json:"replayBytes"`   // what an Open now would replay after it; see Size
	Appends       int64  `json:"appends"`
	AppendedBytes int64  `json:"appendedBytes"` // with envelopes
	Compactions   int64  `json:"compactions"`
	Rolls         int64  `json:"rolls"`
}

// Journal is an open journal. All methods may be called by any number of goroutines; they do file I/O under one lock, so
// they wait for each other's syncs.
type Journal struct {
	fs      vfs.FS
	options Options
	lock    io.Closer // nil when read-only

	mu       sync.Mutex
	store    storage  // nil when read-only, failed or closed
	last     mark     // of the last acknowledged entry
	marked   mark     // what the mark file says
	snapshot snapshot // the newest, without its payload
	snapped  bool     // there is one
	failure  error    // sticky; Is ErrFailed
	closed   bool
	buffer   []byte // reused for envelopes
	stats    Stats
}

// Append makes one change durable and returns its index. When it returns nil, every later Open replays the entry. When it
// returns an error that Is ErrFailed, the entry may or may not be there, and so every later call is refused; ErrTooLarge
// changes nothing. payload is not kept; it may be empty.
func (j *Journal) Append(kind uint8, payload []byte) (index uint64, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.writableLocked(); err != nil {
		return 0, err
	}
	if len(payload) > MaxPayload {
		return 0, fmt.Errorf("%w: payload of %d bytes, the limit is %d", ErrTooLarge, len(payload), MaxPayload)
	}
	e := envelope{
		kind:    kind,
		index:   j.last.index + 1,
		synced:  j.last.index,
		chain:   j.last.chain,
		payload: payload,
	}
	j.buffer = appendEnvelope(j.buffer[:0], &e)
	rolled, err := j.store.append(e.index, j.buffer)
	if err != nil {
		return 0, j.failLocked(fmt.Errorf("append entry %d: %w", e.index, err))
	}
	last := mark{e.index, e.crc}
	if rolled {
		j.stats.Rolls++
		if err := j.writeMarkLocked(last); err != nil {
			return 0, j.failLocked(err) // not acknowledged, so Reopen has to replay it
		}
	}
	j.last = last
	j.stats.Appends++
	j.stats.AppendedBytes += int64(len(j.buffer))
	j.stats.ReplayBytes += int64(len(j.buffer))
	if cap(j.buffer) > 64<<10 {
		j.buffer = nil // one large payload shall not stay for ever
	}
	return e.index, nil
}

// Compact stores state, which must be what all entries so far amount to, and drops the entries that the previous snapshot
// already covered. A failure to write the snapshot changes nothing and may be tried again; a failure to drop entries Is
// ErrFailed. Nothing is lost in either case, nor by a crash at any moment. state is not kept.
func (j *Journal) Compact(state []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.writableLocked(); err != nil {
		return err
	}
	if len(state) > MaxSnapshot {
		return fmt.Errorf("%w: snapshot of %d bytes, the limit is %d", ErrTooLarge, len(state), MaxSnapshot)
	}
	if j.snapped && j.snapshot.index == j.last.index {
		return nil // nothing has changed since
	}
	next := snapshot{index: j.last.index, chain: j.last.chain, payload: state}
	image := appendSnapshot(nil, next)
	if err := vfs.WriteFileAtomic(j.fs, j.path(snapshotName(next.index)), image); err != nil {
		return fmt.Errorf("journal: write snapshot %d: %w", next.index, err)
	}
	next.payload = nil
	previous, had := j.snapshot, j.snapped
	j.snapshot, j.snapped = next, true
	j.stats.Snapshot, j.stats.SnapshotBytes, j.stats.ReplayBytes = next.index, int64(len(image)), 0
	j.stats.Compactions++
	if !had {
		return nil
	}
	// Not up to the new snapshot: should it turn out damaged, the previous one and these entries are the state.
	if first := previous.index + 1; first > j.stats.First {
		if err := j.store.dropFront(first); err != nil {
			return j.failLocked(fmt.Errorf("drop entries before %d: %w", first, err))
		}
		j.stats.First = first
	}
	if err := j.dropSnapshotsLocked(previous.index, next.index); err != nil {
		return j.failLocked(err)
	}
	return nil
}

// dropSnapshotsLocked removes all snapshots but the two given.
func (j *Journal) dropSnapshotsLocked(previous, newest uint64) error {
	files, err := j.fs.ReadDir(j.options.Dir)
	if err != nil {
		return fmt.Errorf("drop old snapshots: %w", err)
	}
	for _, file := range files {
		kind, index := parseName(file.Name())
		if kind != snapshotFile || index == previous || index == newest {
			continue
		}
		if err := j.fs.Remove(j.path(file.Name())); err != nil {
			return fmt.Errorf("drop old snapshots: %w", err)
		}
	}
	if err := j.fs.SyncDir(j.options.Dir); err != nil {
		return fmt.Errorf("drop old snapshots: %w", err)
	}
	return nil
}

// Size returns how many bytes of entries an Open now would replay after the newest snapshot: the figure to base Compact on.
func (j *Journal) Size() int64 { return j.Stats().ReplayBytes }

// Stats returns the counters. It works on a failed and on a closed journal too.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.stats
	s.Last = j.last.index
	return s
}

// Err returns the failure that made the journal refuse writes, or nil. It Is ErrFailed.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failure
}

// Reopen puts a failed journal back to work: it closes the files and goes through recovery like Open, without letting go
// of the lock. replay is handed the entries after the last acknowledged one, which are those of a failed Append that are
// there after all: at most one. It must not call the journal. On an error the journal stays failed. On a journal that has not failed it does
// nothing.
func (j *Journal) Reopen(replay func(Entry) error) (*Recovery, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.closed:
		return nil, ErrClosed
	case j.failure == nil:
		return &Recovery{Snapshot: j.snapshot.index, HasSnapshot: j.snapped, First: j.stats.First, Last: j.last.index}, nil
	}
	known := j.last
	options := j.options
	options.Salvage = false
	options.Snapshot = nil
	options.Replay = func(e Entry) error {
		if e.Index <= known.index || replay == nil {
			return nil
		}
		return replay(e)
	}
	report, err := j.recoverLocked(options, known)
	if err != nil {
		j.releaseStoreLocked()
		return nil, err
	}
	j.failure = nil
	return report, nil
}

// Close writes the mark, releases the files and the lock. It returns the failure of a failed journal. A second Close does
// nothing and returns nil.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil
	}
	j.closed = true
	err := j.failure
	if j.store != nil {
		if closeErr := j.store.close(); closeErr != nil && err == nil {
			err = fmt.Errorf("journal: close: %w", closeErr)
		}
		j.store = nil
		if err == nil && j.marked != j.last {
			if markErr := j.writeMarkLocked(j.last); markErr != nil {
				err = fmt.Errorf("journal: close: %w", markErr)
			}
		}
	}
	if j.lock != nil {
		if lockErr := j.lock.Close(); lockErr != nil && err == nil {
			err = fmt.Errorf("journal: close: %w", lockErr)
		}
	}
	return err
}

func (j *Journal) path(name string) string { return join(j.options.Dir, name) }

func (j *Journal) writableLocked() error {
	switch {
	case j.closed:
		return ErrClosed
	case j.failure != nil:
		return j.failure
	case j.options.ReadOnly:
		return ErrReadOnly
	}
	return nil
}

// failLocked makes err sticky. The handle is given up at once: whatever state it is in, nobody can use it again.
func (j *Journal) failLocked(err error) error {
	j.failure = fmt.Errorf("%w: %w", ErrFailed, err)
	j.releaseStoreLocked()
	return j.failure
}

func (j *Journal) releaseStoreLocked() {
	if j.store == nil {
		return
	}
	// Its error says nothing new: recovery will not believe the files either way.
	_ = j.store.close()
	j.store = nil
}

func (j *Journal) writeMarkLocked(m mark) error {
	if err := vfs.WriteFileAtomic(j.fs, j.path(markName), m.encode()); err != nil {
		return fmt.Errorf("write mark: %w", err)
	}
	j.marked = m
	return nil
}
