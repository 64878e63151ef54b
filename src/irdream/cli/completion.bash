# TAB after `python main.py`, by whatever path python is called:
#   source src/irdream/cli/completion.bash
# In zsh first: autoload -U compinit bashcompinit && compinit && bashcompinit

_irdream_complete() {
    local python script line="${COMP_LINE:0:$COMP_POINT}"
    read -r python script _ <<< "$line"
    [[ "$script" == *main.py && "$line" == *"$script "* ]] || return 1
    grep -qs '^"""irdream' "${script/#\~/$HOME}" || return 1
    COMPREPLY=( $(COMP_LINE="python main.py ${line#*"$script "}" \
        "${python/#\~/$HOME}" "${script/#\~/$HOME}" -sc query=bash 2> /dev/null) )
}

COMP_WORDBREAKS=${COMP_WORDBREAKS//=/} # a key and its value are one word
complete -o nospace -o bashdefault -o default -F _irdream_complete python python3
