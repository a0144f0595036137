package segment

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
)

// pieces makes a log file of what a fuzzer of bytes never hits on, because of
// the checksums: whole batches that continue the log, or do not, with damage in
// between. It returns the batches that were put in undamaged and in their place,
// as a reference for what a scan may visit.
func pieces(r *rand.Rand) (data []byte, offered []batch.Batch, o ScanOptions) {
	o.Compacted = r.IntN(3) == 0
	next, epoch := int64(100), int32(r.IntN(2))
	for range 1 + r.IntN(12) {
		count := 1 + r.IntN(3)
		b := record(next, epoch, count, 1+r.IntN(400))
		switch r.IntN(22) {
		case 0:
			data = append(data, make([]byte, r.IntN(1500))...)
			continue
		case 1:
			for range r.IntN(200) {
				data = append(data, byte(r.IntN(256)))
			}
			continue
		case 2: // torn: some of it never reached the disk
			b = slices.Clone(b)
			from := r.IntN(len(b))
			clear(b[from : from+r.IntN(len(b)-from)+1])
			if b.CheckCRC() == nil {
				offered = append(offered, b) // there were zeros before
			}
		case 3: // stale
			b.SetBaseOffset(r.Int64N(next + 1))
			offered = append(offered, b)
			data = append(data, b...)
			continue
		case 4: // flipped
			b = slices.Clone(b)
			// Not in its base offset: that shows only in the neighbours, which may
			// be damaged here.
			b[batchLength+r.IntN(len(b)-batchLength)] ^= byte(1 + r.IntN(255))
		case 5: // a batch in a value
			var builder batch.Builder
			builder.Reset(nil, batch.Options{})
			builder.Append(1, nil, join(record(next+r.Int64N(3), epoch, 1, 20), record(next+1, epoch, 1, 20)), nil)
			done, err := builder.Finish()
			if err != nil {
				panic(err)
			}
			b = done
			b.SetBaseOffset(next)
			b.SetLeaderEpoch(epoch)
			offered, count = append(offered, b), 1
		case 6: // missing
			next = b.NextOffset()
			continue
		case 7:
			epoch += int32(r.IntN(3))
			b.SetLeaderEpoch(epoch)
			offered = append(offered, b)
		case 8:
			b.SetLeaderEpoch(epoch - 1)
			offered = append(offered, b)
		case 9: // written twice
			data = append(data, b...)
			offered = append(offered, b)
		default:
			offered = append(offered, b)
		}
		data = append(data, b...)
		next += int64(count)
	}
	if r.IntN(2) == 0 {
		data = append(data, record(next, epoch, 3, 300)[:r.IntN(300)]...)
	}
	o.MaxLeaderEpoch = max(1, epoch)
	return data, offered, o
}

// Whatever lies in a file: only batches that were written are visited, never a
// torn or nested one, in order, and a scan of what was kept finds the same.
func TestKeptPrefixIsStableWhateverLiesInTheFile(t *testing.T) {
	for seed := range uint64(5_000) {
		data, offered, o := pieces(rand.New(rand.NewPCG(seed, 4)))
		batches, result := scanned(t, data, 100, o)
		for _, b := range batches {
			require.True(t, slices.ContainsFunc(offered, func(w batch.Batch) bool { return slices.Equal(w, b) }),
				"seed %d: batch %d was never written", seed, b.BaseOffset())
		}
		again, second := scanned(t, data[:result.End], 100, o)
		require.Equal(t, batches, again, "seed %d", seed)
		require.Equal(t, CleanEnd, second.Kind, "seed %d", seed)
		require.Equal(t, result.Next, second.Next, "seed %d", seed)
	}
}
