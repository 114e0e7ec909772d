package nvidia

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// rimWords find the words in a RIM that say what it is for, before anything in it
// is believed. What they find is only looked for: the signed text is compared.
var (
	rimMeta = regexp.MustCompile(`<(?:[A-Za-z0-9]+:)?Meta\s[^>]*>`)
	rimWord = regexp.MustCompile(`\s(colloquialVersion|product|edition)="([^"]*)"`)
)

// rimSubject is what a RIM says that it is for.
type rimSubject struct {
	version, product string
	forSwitch        bool
}

func subjectOf(raw []byte) rimSubject {
	var s rimSubject
	for _, word := range rimWord.FindAllSubmatch(rimMeta.Find(raw), -1) {
		switch value := string(word[2]); string(word[1]) {
		case "colloquialVersion":
			s.version = strings.ToUpper(value)
		case "product":
			s.product = value
		case "edition":
			s.forSwitch = value == "SWITCH"
		}
	}
	return s
}

// find returns the document of that name; or else the only one whose name ends in
// "_" and the id; or else the only one that says it is for the subject, as when
// somebody stored it under a name of their own.
func (s *RIMSet) find(id string, subject rimSubject) (rimDocument, error) {
	if d, ok := s.docs[id]; ok {
		return d, nil
	}
	names := s.matching(func(name string, _ rimDocument) bool { return strings.HasSuffix(name, "_"+id) })
	if len(names) == 0 {
		subject.version = strings.ToUpper(subject.version)
		names = s.matching(func(_ string, d rimDocument) bool { return d.subject == subject })
	}
	switch len(names) {
	case 0:
		return rimDocument{}, fmt.Errorf("RIM %s was not given: fetch it from the RIM service and put it beside the others as %s.xml", id, id)
	case 1:
		return s.docs[names[0]], nil
	}
	return rimDocument{}, fmt.Errorf("RIM %s: %s could all be it; name the right one %s.xml", id, strings.Join(names, ", "), id)
}

func (s *RIMSet) matching(want func(string, rimDocument) bool) []string {
	var names []string
	for name, d := range s.docs {
		if want(name, d) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
