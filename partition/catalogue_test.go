package partition

import (
	"encoding/hex"
	"testing"

	"github.com/partlog/partlog/log"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A snapshot of the journal is the catalogue encoded; so what the events amount to must survive encoding at any point.
func TestCatalogueSurvivesSnapshotAtAnyPoint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCatalogue()
		names := []string{"a", "b", "c.d"}
		apply := func(kind uint8, f func(*encoder)) {
			var e encoder
			f(&e)
			require.NoError(t, c.apply(kind, e.buf))
			restored := newCatalogue()
			require.NoError(t, restored.restore(c.encode()))
			require.Equal(t, c.canonical(), restored.canonical())
			*c = *restored
		}
		apply(eventFormatted, func(e *encoder) { e.id(TopicID{1}); e.id(TopicID{2}) })
		for range rapid.IntRange(1, 30).Draw(t, "events") {
			name := rapid.SampledFrom(names).Draw(t, "topic")
			ct := c.topics[name]
			if rapid.IntRange(0, 4).Draw(t, "settings") == 0 {
				apply(eventSettings, func(e *encoder) {
					changes := []Setting{{Key: rapid.StringN(1, 3, 8).Draw(t, "key"), Value: rapid.SliceOfN(rapid.Byte(), 0, 4).Draw(t, "value")}, {Key: "a/b/" + name}}
					if rapid.Bool().Draw(t, "put") {
						changes[1].Value = []byte{}
					}
					e.changes(changes)
				})
			}
			if ct == nil {
				apply(eventTopicCreated, func(e *encoder) {
					e.topic(&catTopic{name: name, id: newUUID(), overrides: map[string]string{"k": "v"}, parts: make([]catPart, rapid.IntRange(1, 5).Draw(t, "n"))})
				})
				continue
			}
			m := mark{id: ct.id, partition: int32(len(ct.parts) - 1), offset: Offset(rapid.Int64Range(0, 1<<40).Draw(t, "offset"))}
			switch rapid.IntRange(0, 8).Draw(t, "kind") {
			case 0:
				apply(eventTopicDeleted, func(e *encoder) { e.id(ct.id) })
			case 1:
				apply(eventTopicConfigured, func(e *encoder) { e.id(ct.id); e.strings(map[string]string{"x": "1", "y": ""}) })
			case 2:
				apply(eventTopicGrown, func(e *encoder) { e.id(ct.id); e.int(int64(len(ct.parts) + 2)) })
			case 3:
				apply(eventProducerIDs, func(e *encoder) { e.int(c.nextID + idBlockSize) })
			case 4:
				apply(eventLogStart, func(e *encoder) { e.mark(m) })
				require.GreaterOrEqual(t, c.topics[name].parts[m.partition].logStart, m.offset)
			case 5:
				apply(eventRecoveryPoints, func(e *encoder) { e.int(1); e.mark(m) })
			case 6:
				apply(eventClosed, func(e *encoder) { e.int(1); e.mark(m) })
				require.True(t, c.clean)
				require.Equal(t, m.offset, c.topics[name].parts[m.partition].end)
			case 7:
				before := ct.epoch
				apply(eventOpened, func(e *encoder) { e.int(c.incarnation + 1); e.bool(true) })
				require.Equal(t, before+1, c.topics[name].epoch, "an unclean open raises every epoch")
				require.False(t, c.clean)
			case 8:
				for id := range c.deleted {
					apply(eventTopicPurged, func(e *encoder) { e.id(id) })
				}
			}
		}
	})
}

// canonical is the state in a form that can be compared.
func (c *catalogue) canonical() catalogue {
	d := *c
	d.stamp, d.stamps = 0, nil
	if len(d.settings) == 0 {
		d.settings = nil
	}
	d.topics = map[string]*catTopic{}
	for name, t := range c.topics {
		u := *t
		u.parts = append([]catPart{}, t.parts...)
		if len(u.overrides) == 0 {
			u.overrides = nil
		}
		u.created = u.created.UTC().Truncate(1e6)
		d.topics[name] = &u
	}
	return d
}

func TestCatalogueRefusesAnImpossibleEventUnchanged(t *testing.T) {
	c := newCatalogue()
	var e encoder
	e.topic(&catTopic{name: "a", id: TopicID{9}, parts: make([]catPart, 2)})
	require.NoError(t, c.apply(eventTopicCreated, e.buf))
	before := c.canonical()
	require.Error(t, c.apply(eventTopicCreated, e.buf), "twice")
	require.ErrorIs(t, c.apply(200, nil), ErrNewerFormat)
	require.Error(t, c.apply(eventTopicDeleted, make([]byte, 16)), "unknown id")
	require.Error(t, c.apply(eventTopicDeleted, nil), "too short")
	var shrink encoder
	shrink.id(TopicID{9})
	shrink.int(1)
	require.Error(t, c.apply(eventTopicGrown, shrink.buf))
	require.Equal(t, before, c.canonical())
	require.ErrorIs(t, c.restore([]byte{8}), ErrNewerFormat)
}

func FuzzCatalogueEvent(f *testing.F) {
	var e encoder
	e.topic(&catTopic{name: "orders", id: TopicID{1}, overrides: map[string]string{"a": "b"}, parts: make([]catPart, 3)})
	f.Add(eventTopicCreated, e.buf)
	f.Add(eventRecoveryPoints, []byte{2, 1, 2, 3})
	var settings encoder
	settings.changes([]Setting{{Key: "kafka/acl/1", Value: []byte("x")}, {Key: "gone"}})
	f.Add(eventSettings, settings.buf)
	f.Add(eventClosed, []byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, kind uint8, payload []byte) {
		c := newCatalogue()
		require.NoError(t, c.apply(eventTopicCreated, e.buf))
		_ = c.apply(kind, payload)
		_ = newCatalogue().restore(payload)
		require.NoError(t, newCatalogue().restore(c.encode()))
	})
}

// Entries and a snapshot as the first release wrote them. They must be readable for ever; a new layout gets a new file.
func TestCatalogueOfTheFirstFormatIsStillRead(t *testing.T) {
	const snapshot = "0201000000000000000000000000000000000000000000000000000000000000000601d00f020c6f7264657273070000000000000000000000000000" +
		"0080a0abfef962040218726574656e74696f6e2e6d730c3630343830300604060e12" + "0ab0eae5ed1f12e84804" + "02000001" + "0000000000" + "02080000000000000000000000000000" +
		"00066f6c6406"
	state, err := hex.DecodeString(snapshot)
	require.NoError(t, err)
	c := newCatalogue()
	require.NoError(t, c.restore(state))
	require.Equal(t, int64(3), c.incarnation)
	require.Equal(t, int64(1000), c.nextID)
	require.True(t, c.clean)
	imprint := log.Imprint{Base: 5, First: 0xfedcba98, Next: 9, Last: 0x1234, Epoch: 2}
	o := c.topics["orders"]
	require.Equal(t, LeaderEpoch(2), o.epoch)
	require.Equal(t, TopicID{7}, o.id)
	require.Equal(t, []catPart{{3, 7, 9, imprint, 0, 0}, {3, 7, 9, imprint, 0, 0}, {0, 0, -1, log.Imprint{}, 0, 0}}, o.parts)
	require.Len(t, o.overrides, 1)
	require.Equal(t, catDeleted{"old", 3}, c.deleted[TopicID{8}])
	require.Equal(t, snapshot, hex.EncodeToString(c.encode()))

	for kind, payload := range map[uint8]string{
		eventOpened:          "0801",
		eventTopicConfigured: "07000000000000000000000000000000" + "00",
		eventTopicGrown:      "07000000000000000000000000000000" + "08",
		eventProducerIDs:     "a01f",
		eventLogStart:        "07000000000000000000000000000000" + "02" + "0c" + "00" + "0000000000",
		eventRecoveryPoints:  "02" + "07000000000000000000000000000000" + "00" + "10" + "00" + "0ab0eae5ed1f12e84804",
		eventClosed:          "02" + "07000000000000000000000000000000" + "00" + "10" + "06" + "0ab0eae5ed1f12e84804",
		eventTopicPurged:     "08000000000000000000000000000000",
		eventTopicDeleted:    "07000000000000000000000000000000",
	} {
		b, err := hex.DecodeString(payload)
		require.NoError(t, err)
		d := newCatalogue()
		require.NoError(t, d.restore(state))
		require.NoError(t, d.apply(kind, b), "kind %d", kind)
	}
}

func FuzzTopicName(f *testing.F) {
	f.Add("orders")
	f.Add("..")
	f.Add("a/b")
	f.Fuzz(func(t *testing.T, name string) {
		if validTopicName(name) == nil {
			require.Regexp(t, `^[a-zA-Z0-9._-]{1,249}$`, name)
			require.NotContains(t, []string{".", ".."}, name)
		}
	})
}

func FuzzLockRecord(f *testing.F) {
	f.Add("partlog store 1\npid 4711\nhost example\nsince 2026-01-02T03:04:05Z\n")
	f.Add("partlog store 1\npid -\n\n\x00")
	f.Fuzz(func(t *testing.T, record string) {
		e := &StoreInUseError{Dir: "d"}
		e.parse(record)
		require.NotEmpty(t, e.Error())
	})
}
