from django.contrib import admin

from jobs.models import Application, Industry, Job, JobPicture, SavedJob, Subcategory


@admin.register(Industry)
class IndustryAdmin(admin.ModelAdmin):
    search_fields = ["name"]


@admin.register(Subcategory)
class SubcategoryAdmin(admin.ModelAdmin):
    list_display = ["name", "industry"]
    list_select_related = ["industry"]
    search_fields = ["name"]


class JobPictureInline(admin.TabularInline):
    model = JobPicture
    extra = 0


@admin.register(Job)
class JobAdmin(admin.ModelAdmin):
    list_display = ["title", "client", "industry", "budget", "status", "created_at"]
    list_filter = ["status", "industry"]
    list_select_related = ["client", "industry"]
    raw_id_fields = ["client"]
    filter_horizontal = ["subcategories"]
    inlines = [JobPictureInline]


@admin.register(Application)
class ApplicationAdmin(admin.ModelAdmin):
    list_display = ["job", "applicant", "offer", "status", "created_at"]
    list_filter = ["status"]
    list_select_related = ["job", "applicant"]
    raw_id_fields = ["job", "applicant"]


@admin.register(SavedJob)
class SavedJobAdmin(admin.ModelAdmin):
    list_display = ["user", "job", "created_at"]
    list_select_related = ["user", "job"]
    raw_id_fields = ["user", "job"]
