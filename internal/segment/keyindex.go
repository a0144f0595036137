package segment

import (
	"cmp"
	"encoding/binary"
	"io"
	"path/filepath"
	"slices"
	"sort"

	"github.com/cespare/xxhash/v2"

	"github.com/partlog/partlog/internal/vfs"
)

// The key index says at which offsets a sealed segment has the records of a key. Ours, not Kafka's; a cache, made again from the .log.
// Pages of 4 KiB, integers big-endian:
//
//	page 0    "partlogk" · version u32 = 1 · topic id 16 · partition i32 · base i64 · next i64 · entries u64 · zeros · sum u64
//	page 1... 340 entries, ascending: hash u64 (xxh64 of the key) · offset - base u32; the last page is filled with 0xff; then sum u64
//
// sum is the xxh64 of what is before it in the page, which has 8 bytes more than entries: the page's number. So a page is checked alone,
// when it is read, and cannot be taken for another.
const (
	keyPageSize    = 4096
	keyEntrySize   = 12
	keysPerPage    = (keyPageSize - 16) / keyEntrySize
	keyIndexMagic  = "partlogk"
	keyIndexFormat = 1
)

// KeyEntry is one record of a key.
type KeyEntry struct {
	Hash     uint64 // of the key, see KeyHash
	Relative uint32 // offset, less the segment's base
}

// KeyHash is what a key index knows of a key.
func KeyHash(key []byte) uint64 { return xxhash.Sum64(key) }

// KeyIndex is an open key index file. It holds no file: lookups are given one.
type KeyIndex struct {
	pages   int64 // of entries
	entries int64
}

// WriteKeyIndex sorts the entries and writes the index of the segment that ends before offset next.
func WriteKeyIndex(fsys vfs.FS, dir string, id SumID, next int64, entries []KeyEntry) error {
	slices.SortFunc(entries, func(a, b KeyEntry) int {
		return cmp.Or(cmp.Compare(a.Hash, b.Hash), cmp.Compare(a.Relative, b.Relative))
	})
	pages := (len(entries) + keysPerPage - 1) / keysPerPage
	data := make([]byte, 0, (1+pages)*keyPageSize)
	data = append(data, keyIndexMagic...)
	data = binary.BigEndian.AppendUint32(data, keyIndexFormat)
	data = append(data, id.TopicID[:]...)
	data = binary.BigEndian.AppendUint32(data, uint32(id.Partition))
	data = binary.BigEndian.AppendUint64(data, uint64(id.Base))
	data = binary.BigEndian.AppendUint64(data, uint64(next))
	data = binary.BigEndian.AppendUint64(data, uint64(len(entries)))
	data = closeKeyPage(data, 0, 0)
	for i := range pages {
		for _, e := range entries[i*keysPerPage : min((i+1)*keysPerPage, len(entries))] {
			data = binary.BigEndian.AppendUint64(data, e.Hash)
			data = binary.BigEndian.AppendUint32(data, e.Relative)
		}
		data = closeKeyPage(data, i+1, 0xff)
	}
	return vfs.WriteFileAtomic(fsys, filepath.Join(dir, KeyIndexName(id.Base)), data)
}

// closeKeyPage fills the page that data ends with.
func closeKeyPage(data []byte, number int, fill byte) []byte {
	start := number * keyPageSize
	for len(data) < start+keyPageSize-16 {
		data = append(data, fill)
	}
	data = binary.BigEndian.AppendUint64(data, uint64(number))
	return binary.BigEndian.AppendUint64(data, xxhash.Sum64(data[start:]))
}

// OpenKeyIndex checks that a file of this size is the key index of that segment, up to next. Errors are ErrCorrupt, also for another
// segment's, and the reader's.
func OpenKeyIndex(r io.ReaderAt, size int64, id SumID, next int64) (*KeyIndex, error) {
	var buf [keyPageSize]byte
	if err := readKeyPage(r, 0, &buf); err != nil {
		return nil, err
	}
	b := buf[:]
	if string(b[:8]) != keyIndexMagic || binary.BigEndian.Uint32(b[8:]) != keyIndexFormat {
		return nil, corrupt(0, "not a key index of format %d", keyIndexFormat)
	}
	is := SumID{TopicID: [16]byte(b[12:28]), Partition: int32(binary.BigEndian.Uint32(b[28:])), Base: int64(binary.BigEndian.Uint64(b[32:]))}
	if is != id || int64(binary.BigEndian.Uint64(b[40:])) != next {
		return nil, corrupt(12, "key index is of %s-%d from offset %d to %d", FormatUUID(is.TopicID), is.Partition, is.Base, int64(binary.BigEndian.Uint64(b[40:])))
	}
	k := &KeyIndex{entries: int64(binary.BigEndian.Uint64(b[48:]))}
	k.pages = size/keyPageSize - 1
	if size%keyPageSize != 0 || k.entries < 0 || k.entries > k.pages*keysPerPage || k.entries <= (k.pages-1)*keysPerPage {
		return nil, corrupt(48, "key index of %d entries in %d bytes", k.entries, size)
	}
	return k, nil
}

func readKeyPage(r io.ReaderAt, number int64, buf *[keyPageSize]byte) error {
	at := number * keyPageSize
	if n, err := r.ReadAt(buf[:], at); n < keyPageSize {
		if err == nil || err == io.EOF {
			return corrupt(int(at), "key index ends in page %d", number)
		}
		return err
	}
	if binary.BigEndian.Uint64(buf[keyPageSize-8:]) != xxhash.Sum64(buf[:keyPageSize-8]) || binary.BigEndian.Uint64(buf[keyPageSize-16:]) != uint64(number) {
		return corrupt(int(at), "checksum of page %d of a key index", number)
	}
	return nil
}

// Lookup appends the relative offsets of the records whose key has that hash, ascending. Errors are ErrCorrupt and the reader's.
func (k *KeyIndex) Lookup(r io.ReaderAt, hash uint64, dst []uint32) ([]uint32, error) {
	var buf [keyPageSize]byte
	// The first page whose last entry is not below hash. Hashes are spread evenly, so it is near where it should be.
	low, high := int64(0), k.pages // pages [low, high) may be it
	for probe := int64(float64(k.pages) * (float64(hash) / (1 << 63) / 2)); low < high; probe = (low + high) / 2 {
		probe = min(max(probe, low), high-1)
		if err := readKeyPage(r, 1+probe, &buf); err != nil {
			return dst, err
		}
		n := k.entriesOf(probe)
		switch last := keyHashAt(&buf, n-1); {
		case last < hash:
			low = probe + 1
		case probe > low && keyHashAt(&buf, 0) >= hash:
			high = probe // it may begin on the page before
		default:
			low, high = probe, probe
		}
	}
	for page := low; page < k.pages; page++ {
		if err := readKeyPage(r, 1+page, &buf); err != nil {
			return dst, err
		}
		n := k.entriesOf(page)
		i := sort.Search(n, func(i int) bool { return keyHashAt(&buf, i) >= hash })
		for ; i < n && keyHashAt(&buf, i) == hash; i++ {
			dst = append(dst, binary.BigEndian.Uint32(buf[i*keyEntrySize+8:]))
		}
		if i < n {
			break
		}
	}
	return dst, nil
}

func (k *KeyIndex) entriesOf(page int64) int {
	return int(min(k.entries-page*keysPerPage, keysPerPage))
}

func keyHashAt(buf *[keyPageSize]byte, i int) uint64 {
	return binary.BigEndian.Uint64(buf[i*keyEntrySize:])
}
