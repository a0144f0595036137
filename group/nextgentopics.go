package group

import (
	"fmt"
	"maps"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/partlog/partlog/partition"
)

// topicInfo is what a consumer group must know of a topic.
type topicInfo struct {
	id         partition.TopicID
	partitions int32
}

// topicImage is what the shell saw of topics when it last looked. It is never changed once it is made.
type topicImage struct {
	all    bool            // these are all topics there are
	asked  map[string]bool // else those of these names
	byName map[string]topicInfo
	names  map[partition.TopicID]string
	// regexes are the topics that expressions stand for, sorted, if it was time to look; else nil.
	regexes map[string][]string
}

// topicsLook is what the shell is to look at: topics, or all of them, and what expressions stand for.
type topicsLook struct {
	names   []string
	all     bool
	regexes []string    // all of the group, if all
	due     bool        // they are to be resolved
	since   *topicImage // else they are if there are topics that this one has not; nil if they never have been
}

// resolve finds what expressions stand for, if it is time (maybeUpdateRegularExpressions): all of the group at once, by the
// rights of whose request it is. Topics that are gone are no reason.
func (i *topicImage) resolve(l topicsLook, describable func(topic string) bool) {
	if len(l.regexes) == 0 || !l.due && l.since != nil && !i.isNewTo(l.since) {
		return
	}
	i.regexes = make(map[string][]string, len(l.regexes))
	names := slices.Sorted(maps.Keys(i.byName))
	rights := make(map[string]bool)
	for _, regex := range l.regexes {
		compiled, err := compileRegex(regex)
		var topics []string
		for _, name := range names {
			if err != nil { // of the log, and of another dialect: it stands for nothing
				break
			}
			if !compiled.MatchString(name) {
				continue
			}
			may, asked := rights[name]
			if !asked {
				may = describable == nil || describable(name)
				rights[name] = may
			}
			if may {
				topics = append(topics, name)
			}
		}
		i.regexes[regex] = topics
	}
}

// isNewTo reports whether there are topics that an older image has not.
func (i *topicImage) isNewTo(old *topicImage) bool {
	for id := range i.names {
		if _, known := old.names[id]; !known {
			return true
		}
	}
	return false
}

func newTopicImage(metadata []partition.Metadata, all bool) *topicImage {
	i := &topicImage{
		all: all, asked: make(map[string]bool),
		byName: make(map[string]topicInfo, len(metadata)), names: make(map[partition.TopicID]string, len(metadata)),
	}
	for _, m := range metadata {
		if !all {
			i.asked[m.Topic] = true
		}
		if m.Err == nil {
			i.byName[m.Topic] = topicInfo{m.ID, int32(len(m.Partitions))}
			i.names[m.ID] = m.Topic
		}
	}
	return i
}

// errLookAgain: the group has become another one since the shell looked at topics.
var errLookAgain = fmt.Errorf("%w: its topics are to be looked at again", ErrCoordinatorNotAvailable)

// covers reports whether all of these topics are in the image, unless they do not exist.
func (i *topicImage) covers(names []string) bool {
	return len(names) == 0 || i != nil && (i.all || !slices.ContainsFunc(names, func(name string) bool { return !i.asked[name] }))
}

// with returns an image with one topic more.
func (i *topicImage) with(name string, t topicInfo) *topicImage {
	c := &topicImage{all: i.all, asked: maps.Clone(i.asked), byName: maps.Clone(i.byName), names: maps.Clone(i.names), regexes: i.regexes}
	c.asked[name], c.byName[name], c.names[t.id] = true, t, name
	return c
}

// hash is a number that changes when one of these topics does: when it comes, goes, is another one of the same name, or
// gets partitions. (Kafka's is another function of the same things; a group that comes from a broker is therefore
// assigned once more.)
func (i *topicImage) hash(topics map[string]bool) int64 {
	var w writer
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		if t, ok := i.byName[name]; ok {
			w.string(name)
			w.b = append(w.b, t.id[:]...)
			w.int32(t.partitions)
		}
	}
	if len(w.b) == 0 {
		return 0
	}
	return int64(xxhash.Sum64(w.b))
}

// ids returns the ids of those topics that exist, sorted.
func (i *topicImage) ids(topics []string) []partition.TopicID {
	out := make([]partition.TopicID, 0, len(topics))
	for _, name := range topics {
		if t, ok := i.byName[name]; ok {
			out = append(out, t.id)
		}
	}
	slices.SortFunc(out, compareTopicIDs)
	return out
}

// byTopicName returns partitions by the names of their topics; those of topics that are gone are left out.
func (i *topicImage) byTopicName(s partitionSet) []partition.TopicPartition {
	var out []partition.TopicPartition
	for id, p := range eachPartition(s) {
		if name, ok := i.names[id]; ok {
			out = append(out, partition.TopicPartition{Topic: name, Partition: p})
		}
	}
	slices.SortFunc(out, compareTopicPartitions)
	return out
}

// byTopicID is the reverse.
func (i *topicImage) byTopicID(tps []partition.TopicPartition) partitionSet {
	byTopic := make(map[partition.TopicID][]int32)
	for _, tp := range tps {
		if t, ok := i.byName[tp.Topic]; ok {
			byTopic[t.id] = append(byTopic[t.id], tp.Partition)
		}
	}
	return partitionSetOf(byTopic)
}

// sortedSet returns s sorted and without repetitions.
func sortedSet(s []string) []string {
	if len(s) == 0 {
		return nil
	}
	return slices.Compact(slices.Sorted(slices.Values(s)))
}
