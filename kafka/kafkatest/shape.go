package kafkatest

import (
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The structs of kmsg are walked by reflection, as all APIs name what they are about alike: a topic is Topic, TopicID or a
// resource of the type topic, a partition is Partition, or an element of the numbers Partitions, a group is Group, and so on.
// Lists are nested (Groups, Topics, Partitions), and what is known further out holds further in.

// shape is what is to be known of a struct's type.
type shape struct {
	topic, topicID, partition, group, txn, key int // fields; -1: none
	resource, resourceType                     int
	code                                       int   // ErrorCode
	lists                                      []int // fields whose elements have such fields, or are them
}

// lists of plain elements, and what these are.
var plainLists = map[string]string{
	"Partitions": "Partition", "Groups": "Group", "TopicNames": "Topic", "CoordinatorKeys": "Key", "TransactionalIDs": "TransactionalID",
}

var shapes sync.Map // reflect.Type to *shape

func shapeOf(t reflect.Type) *shape {
	if s, ok := shapes.Load(t); ok {
		return s.(*shape)
	}
	s := &shape{-1, -1, -1, -1, -1, -1, -1, -1, -1, nil}
	for i := range t.NumField() {
		f := t.Field(i)
		kind := f.Type.Kind()
		text := kind == reflect.String || kind == reflect.Pointer && f.Type.Elem().Kind() == reflect.String
		switch f.Name {
		case "Topic":
			if text {
				s.topic = i
			}
		case "TopicID":
			s.topicID = i
		case "Partition":
			if kind == reflect.Int32 {
				s.partition = i
			}
		case "Group":
			if text {
				s.group = i
			}
		case "TransactionalID", "TransactionID":
			if text {
				s.txn = i
			}
		case "CoordinatorKey", "Key":
			if text {
				s.key = i
			}
		case "ResourceName":
			s.resource = i
		case "ResourceType":
			s.resourceType = i
		case "ErrorCode":
			s.code = i
		}
		if kind != reflect.Slice {
			continue
		}
		switch e := f.Type.Elem(); e.Kind() {
		case reflect.Struct:
			if es := shapeOf(e); es.known() || len(es.lists) > 0 {
				s.lists = append(s.lists, i)
			}
		case reflect.Int32, reflect.String:
			if plainLists[f.Name] != "" {
				s.lists = append(s.lists, i)
			}
		}
	}
	if s.resourceType < 0 {
		s.resource = -1
	}
	shapes.Store(t, s)
	return s
}

// known reports whether a struct of this shape names anything.
func (s *shape) known() bool {
	return s.topic >= 0 || s.topicID >= 0 || s.partition >= 0 || s.group >= 0 || s.txn >= 0 || s.key >= 0 || s.resource >= 0
}

// walker knows what reflection does not.
type walker struct {
	topicName func(id [16]byte) string
	keys      int8 // what the keys of coordinators are: 0 groups, 1 transactional ids
}

func (s *RuleSet) walker(req kmsg.Request) walker {
	w := walker{topicName: s.topicName}
	if f, ok := req.(*kmsg.FindCoordinatorRequest); ok {
		w.keys = f.CoordinatorType
	}
	return w
}

func text(v reflect.Value) (string, bool) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return "", false
		}
		v = v.Elem()
	}
	return v.String(), true
}

// with adds to it what a struct names.
func (w walker) with(it item, v reflect.Value, s *shape) item {
	if s.topicID >= 0 && w.topicName != nil {
		if id, ok := v.Field(s.topicID).Interface().([16]byte); ok && id != [16]byte{} {
			it.topic, it.hasTopic = w.topicName(id), true
		}
	}
	if s.topic >= 0 {
		if name, ok := text(v.Field(s.topic)); ok && name != "" {
			it.topic, it.hasTopic = name, true
		}
	}
	if s.partition >= 0 {
		it.partition, it.hasPartition = int32(v.Field(s.partition).Int()), true
	}
	if s.group >= 0 {
		it.group, it.hasGroup = text(v.Field(s.group))
	}
	if s.txn >= 0 {
		it.txn, it.hasTxn = text(v.Field(s.txn))
	}
	if s.key >= 0 {
		if key, ok := text(v.Field(s.key)); ok {
			it = w.withPlain(it, "Key", key)
		}
	}
	if s.resource >= 0 {
		const topics, groups = 2, 32
		switch v.Field(s.resourceType).Int() {
		case topics:
			it.topic, it.hasTopic = v.Field(s.resource).String(), true
		case groups:
			it.group, it.hasGroup = v.Field(s.resource).String(), true
		}
	}
	return it
}

func (w walker) withPlain(it item, what, name string) item {
	if what == "Key" {
		what = "Group"
		if w.keys == 1 {
			what = "TransactionalID"
		}
	}
	switch what {
	case "Topic":
		it.topic, it.hasTopic = name, true
	case "Group":
		it.group, it.hasGroup = name, true
	case "TransactionalID":
		it.txn, it.hasTxn = name, true
	}
	return it
}

// plain is with for an element that is no struct.
func (w walker) plain(it item, field string, v reflect.Value) item {
	if v.Kind() == reflect.Int32 {
		it.partition, it.hasPartition = int32(v.Int()), true
		return it
	}
	return w.withPlain(it, plainLists[field], v.String())
}

// leaves calls f with every innermost place in a struct.
func (w walker) leaves(v reflect.Value, it item, f func(item)) {
	s := shapeOf(v.Type())
	it = w.with(it, v, s)
	any := false
	for _, i := range s.lists {
		list := v.Field(i)
		for j := range list.Len() {
			any = true
			if e := list.Index(j); e.Kind() == reflect.Struct {
				w.leaves(e, it, f)
			} else {
				f(w.plain(it, v.Type().Field(i).Name, e))
			}
		}
	}
	if !any {
		f(it)
	}
}

// part returns a copy of a struct with only those innermost places for which keep is true, and whether any is left.
func (w walker) part(v reflect.Value, it item, keep func(item) bool) (reflect.Value, bool) {
	s := shapeOf(v.Type())
	it = w.with(it, v, s)
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	any, left := false, false
	for _, i := range s.lists {
		list := v.Field(i)
		if list.Len() == 0 {
			continue
		}
		any = true
		kept := reflect.MakeSlice(list.Type(), 0, list.Len())
		for j := range list.Len() {
			e := list.Index(j)
			if e.Kind() != reflect.Struct {
				if keep(w.plain(it, v.Type().Field(i).Name, e)) {
					kept = reflect.Append(kept, e)
				}
				continue
			}
			if p, ok := w.part(e, it, keep); ok {
				kept = reflect.Append(kept, p)
			}
		}
		left = left || kept.Len() > 0
		c.Field(i).Set(kept)
	}
	if !any {
		return c, keep(it)
	}
	return c, left
}

// items lists what a request is about.
func (s *RuleSet) itemsOf(req kmsg.Request) (all []item) {
	s.walker(req).leaves(reflect.ValueOf(req).Elem(), item{}, func(it item) { all = append(all, it) })
	return all
}

// blank makes the answer to a request in which nothing is said but an error: at every level that has a code.
func (w walker) blank(req kmsg.Request, code int16) kmsg.Response {
	resp := req.ResponseKind()
	w.mirror(reflect.ValueOf(resp).Elem(), reflect.ValueOf(req).Elem(), code)
	return resp
}

// echoed are the fields that an answer repeats from its request.
var echoed = []string{"Topic", "TopicID", "Partition", "Group", "TransactionalID", "MemberID", "InstanceID", "ResourceType", "ResourceName", "Key", "Name", "User", "Mechanism"}

// unsaid are numbers that are -1 beside an error.
var unsaid = []string{"HighWatermark", "LastStableOffset", "LogStartOffset", "BaseOffset", "Offset", "LogAppendTime", "EndOffset"}

// sources are lists of an answer that have another name in the request.
var sources = map[string][]string{
	"Coordinators": {"CoordinatorKeys"}, "Topics": {"TopicNames"}, "TransactionStates": {"TransactionalIDs"},
	"Results": {"Creations", "Filters", "Deletions", "Upsertions"},
}

// mirror fills target, a struct of an answer, from the struct of the request that it answers.
func (w walker) mirror(target, source reflect.Value, code int16) {
	t := target.Type()
	for i := range t.NumField() {
		name, f := t.Field(i).Name, target.Field(i)
		switch {
		case name == "ErrorCode" && f.Kind() == reflect.Int16:
			f.SetInt(int64(code))
			continue
		case slices.Contains(unsaid, name) && f.Kind() == reflect.Int64:
			f.SetInt(-1)
			continue
		case slices.Contains(echoed, name):
			if from := source.FieldByName(name); from.IsValid() && from.Type() == f.Type() {
				f.Set(from)
			} else if from.IsValid() {
				copyText(f, from)
			}
			continue
		case f.Kind() != reflect.Slice || f.Type().Elem().Kind() != reflect.Struct:
			continue
		}
		for _, other := range append([]string{name}, sources[name]...) {
			from := source.FieldByName(other)
			if !from.IsValid() || from.Kind() != reflect.Slice || from.Len() == 0 {
				continue
			}
			f.Set(reflect.AppendSlice(f, w.mirrorList(f.Type(), from, code)))
		}
	}
}

func (w walker) mirrorList(t reflect.Type, from reflect.Value, code int16) reflect.Value {
	out := reflect.MakeSlice(t, 0, from.Len())
	for j := range from.Len() {
		e := reflect.New(t.Elem())
		if d, ok := e.Interface().(interface{ Default() }); ok {
			d.Default()
		}
		e = e.Elem()
		if source := from.Index(j); source.Kind() == reflect.Struct {
			w.mirror(e, source, code)
		} else {
			mirrorPlain(e, source, code)
		}
		out = reflect.Append(out, e)
	}
	return out
}

// mirrorPlain fills an element of an answer from a number or a name.
func mirrorPlain(target, source reflect.Value, code int16) {
	t := target.Type()
	done := false
	for i := range t.NumField() {
		f, name := target.Field(i), t.Field(i).Name
		switch {
		case name == "ErrorCode" && f.Kind() == reflect.Int16:
			f.SetInt(int64(code))
		case done || !slices.Contains([]string{"Partition", "Topic", "Group", "TransactionalID", "Key"}, name):
		case f.Type() == source.Type():
			f.Set(source)
			done = true
		case source.Kind() == reflect.String:
			done = copyText(f, source)
		}
	}
}

// copyText copies between names that may be null and names that may not.
func copyText(to, from reflect.Value) bool {
	name, ok := "", false
	if from.Kind() == reflect.String || from.Kind() == reflect.Pointer && from.Type().Elem().Kind() == reflect.String {
		name, ok = text(from)
	}
	switch {
	case !ok:
		return false
	case to.Kind() == reflect.String:
		to.SetString(name)
	case to.Kind() == reflect.Pointer && to.Type().Elem().Kind() == reflect.String:
		to.Set(reflect.ValueOf(&name))
	default:
		return false
	}
	return true
}

// merge adds what more says to an answer: whole entries, or partitions of topics that it has already.
func merge(resp, more reflect.Value) {
	s := shapeOf(resp.Type())
	for _, i := range s.lists {
		to, from := resp.Field(i), more.Field(i)
		if to.Type().Elem().Kind() != reflect.Struct {
			continue
		}
		es := shapeOf(to.Type().Elem())
		for j := range from.Len() {
			e := from.Index(j)
			at := -1
			for k := range to.Len() {
				if es.partition < 0 && sameNames(to.Index(k), e, es) {
					at = k
					break
				}
			}
			if at < 0 || len(es.lists) == 0 {
				to.Set(reflect.Append(to, e))
				continue
			}
			merge(to.Index(at), e)
		}
	}
}

func sameNames(a, b reflect.Value, s *shape) bool {
	for _, i := range []int{s.topic, s.topicID, s.group, s.txn, s.key, s.resource, s.resourceType} {
		if i >= 0 && !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			return false
		}
	}
	return true
}

// stamp gives the places of an answer that keep picks an error, and takes away what is not said beside one. It reports
// whether there was any.
func (w walker) stamp(v reflect.Value, it item, keep func(item) bool, code int16, outermost bool) bool {
	s := shapeOf(v.Type())
	it = w.with(it, v, s)
	done := false
	for _, i := range s.lists {
		list := v.Field(i)
		if list.Type().Elem().Kind() != reflect.Struct {
			continue
		}
		for j := range list.Len() {
			done = w.stamp(list.Index(j), it, keep, code, false) || done
		}
	}
	if done || outermost || s.code < 0 || !keep(it) {
		return done
	}
	bare(v)
	v.Field(s.code).SetInt(int64(code))
	return true
}

// bare resets a struct of an answer to its defaults, but for what it names.
func bare(v reflect.Value) {
	fresh := reflect.New(v.Type())
	if d, ok := fresh.Interface().(interface{ Default() }); ok {
		d.Default()
	}
	fresh = fresh.Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if slices.Contains(echoed, name) || strings.HasPrefix(name, "IsInternal") {
			continue
		}
		switch f := v.Field(i); {
		case slices.Contains(unsaid, name) && f.Kind() == reflect.Int64:
			f.SetInt(-1)
		case name == "RecordBatches":
			f.SetBytes([]byte{})
		default:
			f.Set(fresh.Field(i))
		}
	}
}
